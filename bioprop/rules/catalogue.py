"""Every rule of bioprop, in the order of tables and figures: what it is called, and what it claims.

This is the one list: all else (configurations, searches, tables, figures, checks) follows from it.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bioprop.errors import unknown
from bioprop.rules.alignment import (
    activation_alignment,
    information_alignment,
    symmetric_alignment,
    weight_mirror,
)
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Rule
from bioprop.rules.boltzmann import boltzmann
from bioprop.rules.brainprop import brainprop
from bioprop.rules.broadcast_alignment import broadcast_alignment
from bioprop.rules.burst import burst, with_forward_bursts
from bioprop.rules.competition import competitive, soft_hebb
from bioprop.rules.contrastive_hebbian import contrastive_hebbian, random_contrastive_hebbian
from bioprop.rules.counter_current import counter_current
from bioprop.rules.difference_reconstruction import fw_dtp, l_drl
from bioprop.rules.direct_feedback import dfa, drtp, shallow, sign_dfa
from bioprop.rules.direct_kolen_pollack import direct_kolen_pollack, with_top_kernel
from bioprop.rules.direct_targets import ddtp_control, ddtp_linear, ddtp_rhl
from bioprop.rules.dtp_drl import dtp_drl
from bioprop.rules.dual_propagation import dual_propagation, early_inference
from bioprop.rules.equilibrium_propagation import equilibrium_propagation
from bioprop.rules.error_broadcast import error_broadcast
from bioprop.rules.feasible_targets import feasible_targets
from bioprop.rules.feedback_alignment import fa
from bioprop.rules.feedback_control import dfc
from bioprop.rules.feedforward_initialisation import feedforward_initialisation
from bioprop.rules.forward_forward import forward_forward
from bioprop.rules.gait_prop import gait_prop, with_orthogonal_kernels
from bioprop.rules.gauss_newton_targets import gauss_newton_targets
from bioprop.rules.kernel_feedback import with_forward_kernels
from bioprop.rules.kolen_pollack import kolen_pollack
from bioprop.rules.local_prediction import local_prediction, with_top_layer
from bioprop.rules.local_representation_alignment import lra_diff, lra_e, lra_fdbk
from bioprop.rules.microcircuit import microcircuit
from bioprop.rules.pepita import pepita
from bioprop.rules.perturbation import forward_gradient, node_perturbation, weight_perturbation
from bioprop.rules.predictive_coding import (
    fixed_prediction,
    nudged_predictive_coding,
    predictive_coding,
    with_many_steps,
    zero_divergence,
)
from bioprop.rules.product_alignment import product_fa
from bioprop.rules.recirculation import recirculation
from bioprop.rules.recurrent_backpropagation import recurrent_backpropagation
from bioprop.rules.segregated_dendrites import segregated_dendrites
from bioprop.rules.sign_symmetry import brsf, frsf, usf, with_one_magnitude, with_true_magnitudes
from bioprop.rules.simplified_target_propagation import ao_sdtp, sdtp
from bioprop.rules.target_propagation import dtp, target_propagation
from bioprop.rules.two_sites import two_sites

BARTUNOV = 'Bartunov et al. 2018'  # whose numbers stand in bioprop.settings.published


class Published(NamedTuple):
    """A number that was read in its source: a test error in percent."""

    task: str  # data set and net
    error: float
    source: str


class Entry(NamedTuple):
    """A rule of the catalogue."""

    make: Callable[..., Rule]  # its arguments are the rule's options
    label: str  # in tables and figures
    family: str
    sources: tuple[str, ...]
    published: tuple[Published, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})  # that it was made for, by their keys
    claims: Mapping[str, Any] = MappingProxyType({})  # arguments of bioprop.testing.check_rule
    demands: Mapping[str, Any] = MappingProxyType({})  # settings that it needs, or one of several
    tied: bool = False  # whether its feedback must take the very steps of the weights


def of_both(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a side's optimiser, for the forward and the feedback weights."""
    return {**settings, **{f'feedback_{name}': value for name, value in settings.items()}}


SIGNS = ('Liao, Leibo and Poggio 2016', 'Moskovitz, Litwin-Kumar and Abbott 2018')
KUNIN, FRENKEL = ('Kunin et al. 2020',), ('Frenkel, Lefebvre and Bol 2021',)
ALIGNED = {'transport': 'none', 'as_bp': with_forward_kernels}
MEULEMANS = ('Meulemans et al. 2020',)
ORORBIA = ('Ororbia, Mali, Kifer and Giles 2018',)
RATES = {'lr': 1e-3, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}


# It learns by differences of near states, of which half the digits keep nothing.
PRECISE = {'precision': 'float32'}

# What its feedback weights learn alone, with L2 in their gradient; its rates are tuned rows.
PRETRAINED = of_both(RATES) | {
    'hyperparameters': 'tuned', 'feedback_pretraining': 6, 'feedback_passes': 1,
    'feedback_decay': 'coupled',
}  # fmt: skip


def of_lenet(error: float) -> tuple[Published, ...]:
    """A row of biotorch's table."""
    return (Published('MNIST, LeNet, 100 epochs', error, 'biotorch'),)


CATALOGUE = {  # the paper's first: colours follow from places, and theirs stay
    'bp': Entry(
        bp, 'BP', 'backpropagation', ('Rumelhart, Hinton and Williams 1986',),
        claims={'transport': 'all', 'as_bp': lambda problem: problem},
    ),
    'fa': Entry(fa, 'FA', 'feedback', ('Lillicrap et al. 2016',), claims={'transport': 'none'}),
    'dfa': Entry(dfa, 'DFA', 'direct', ('Nokland 2016',), claims={'transport': 'none'}),
    'dtp': Entry(dtp, 'DTP', 'targets', ('Lee et al. 2015',), claims={'transport': 'top'}),
    'sdtp': Entry(sdtp, 'SDTP', 'targets', (BARTUNOV,), claims={'transport': 'none'}),
    'ao_sdtp': Entry(ao_sdtp, 'AO-SDTP', 'targets', (BARTUNOV,), claims={'transport': 'none'}),
    'usf': Entry(
        usf, 'uSF', 'feedback', SIGNS, of_lenet(0.94), settings=RATES,
        claims={'transport': 'signs', 'as_bp': with_one_magnitude},
    ),
    'brsf': Entry(
        brsf, 'brSF', 'feedback', SIGNS, of_lenet(0.91), settings=RATES,
        claims={'transport': 'signs'},
    ),
    'frsf': Entry(
        frsf, 'frSF', 'feedback', SIGNS, of_lenet(0.97), settings=RATES,
        claims={'transport': 'signs', 'as_bp': with_true_magnitudes},
    ),
    'kolen_pollack': Entry(
        kolen_pollack, 'KP', 'feedback',
        ('Kolen and Pollack 1994', 'Akrout et al. 2019'),
        (Published('MNIST, 784-500-10, sigmoid, 400 epochs', 1.55, 'logs of Akrout et al. 2019'),),
        settings=RATES | {'weight_decay': 0.1},  # 1 / (lr * decay) steps to align
        claims=ALIGNED | {'local_feedback': False}, tied=True,
    ),
    'weight_mirror': Entry(
        weight_mirror, 'WM', 'feedback', ('Akrout et al. 2019',),
        (Published('MNIST, 784-500-10, sigmoid, 400 epochs', 1.51, 'logs of Akrout et al. 2019'),),
        settings=of_both(RATES), claims=ALIGNED,
    ),
    'symmetric_alignment': Entry(
        symmetric_alignment, 'SA', 'feedback', KUNIN, settings=of_both(RATES), claims=ALIGNED
    ),
    'activation_alignment': Entry(
        activation_alignment, 'AA', 'feedback', KUNIN, settings=of_both(RATES), claims=ALIGNED
    ),
    'information_alignment': Entry(
        information_alignment, 'IA', 'feedback', KUNIN,
        settings=of_both(RATES) | {'lr': 3e-4, 'feedback_lr': 1e-4}, claims=ALIGNED,
    ),
    'product_fa': Entry(
        product_fa, 'PFA', 'feedback', ('Li and Benna 2024',),
        settings={'optimizer': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-3},
        claims={'transport': 'none', 'local_feedback': False}, tied=True,
    ),
    'sign_dfa': Entry(
        sign_dfa, 'sign DFA', 'direct', FRENKEL, settings=RATES | {'lr': 3e-3},
        claims={'transport': 'none'},
    ),
    'drtp': Entry(
        drtp, 'DRTP', 'direct', FRENKEL,
        (Published('MNIST, fully connected, 100 epochs', 7.84, 'Kao and Hariharan 2024'),),
        settings=RATES, claims={'transport': 'none'},
    ),
    'shallow': Entry(
        shallow, 'shallow', 'direct', FRENKEL, settings=RATES, claims={'transport': 'none'}
    ),
    'direct_kolen_pollack': Entry(
        direct_kolen_pollack, 'DKP', 'direct', ('Webster, Choi and Ahn 2021',),
        settings=of_both(RATES), claims={'transport': 'none', 'as_bp': with_top_kernel},
    ),
    'error_broadcast': Entry(
        error_broadcast, 'EBD', 'direct', ('Erdogan, Pehlevan and Erdogan 2025',),
        settings=RATES | {'feedback_optimizer': 'sgd', 'feedback_lr': 1e-5},
        claims={'transport': 'none'},
    ),
    'local_prediction': Entry(
        local_prediction, 'local pred', 'local',
        ('Nokland and Eidnes 2019', 'Belilovsky et al. 2020', 'Gong 2025'),
        (Published('MNIST, 3x1024, jitter, 100 epochs', 0.68, 'Nokland and Eidnes 2019'),),
        settings=of_both(RATES),
        claims={'transport': 'none', 'as_bp': with_top_layer},
    ),
    'counter_current': Entry(
        counter_current, 'CCL', 'local', ('Kao and Hariharan 2024',),
        (Published('MNIST, fully connected, 100 epochs', 1.87, 'Kao and Hariharan 2024'),),
        settings=of_both(RATES), claims={'transport': 'none', 'local_feedback': False},
    ),
    'pepita': Entry(
        pepita, 'PEPITA', 'local', ('Dellaferrera and Kreiman 2022',),
        (Published('MNIST, 1x1024, 100 epochs', 1.99, 'Dellaferrera and Kreiman 2022'),),
        settings={'optimizer': 'sgd', 'lr': 0.1, 'momentum': 0.9}
        | {'activation': 'relu', 'inputs': 'unit'},
    ),
    'brainprop': Entry(
        brainprop, 'BrainProp', 'local', ('Pozzi, Bohte and Roelfsema 2020',),
        (Published('MNIST, convolutions, 63 epochs', 0.69, 'Pozzi et al. 2020'),),
        settings=RATES | {'loss': 'squared_error'}, claims={'transport': 'all'},
    ),
    'forward_forward': Entry(
        forward_forward, 'FF', 'local', ('Hinton 2022',),
        (
            Published('MNIST, 4x2000, 60 epochs', 1.36, 'Hinton 2022'),
            Published('MNIST, 3x1000, 100 epochs', 1.45, 'loeweX/Forward-Forward'),
        ),
        settings=of_both(RATES) | {'activation': 'relu', 'inputs': 'unit'},
        demands={'activation': 'relu'},
    ),
    'forward_gradient': Entry(
        forward_gradient, 'FG', 'perturbation', ('Baydin et al. 2022', 'Ren et al. 2022'),
        (
            Published('MNIST, mixer, weights', 9.25, 'Ren et al. 2022'),
            Published('MNIST, mixer, activities', 3.24, 'Ren et al. 2022'),
        ),
        settings=RATES,
    ),
    'node_perturbation': Entry(
        node_perturbation, 'NP', 'perturbation', ('Werfel, Xie and Seung 2005',),
        settings=RATES | {'lr': 1e-4}, claims={'from_above': False},
    ),
    'weight_perturbation': Entry(
        weight_perturbation, 'WP', 'perturbation', ('Werfel, Xie and Seung 2005',), settings=RATES
    ),
    'target_propagation': Entry(
        target_propagation, 'TP', 'targets', ('Bengio 2014',),
        settings=of_both(RATES)
        | {'lr': 1e-4, 'alpha': 5.0, 'sigma': 0.01, 'feedback_pretraining': 5},
        claims={'transport': 'top'},
    ),
    'l_drl': Entry(
        l_drl, 'L-DRL', 'targets', ('Ernoult et al. 2022',),
        (
            Published('CIFAR-10, VGG, 90 epochs', 10.62, 'quoted by Kao and Hariharan 2024'),
            Published('MNIST, fully connected', 6.71, 'Kao and Hariharan 2024'),
        ),
        settings=of_both(RATES), claims={'transport': 'none'},
    ),
    'fw_dtp': Entry(
        fw_dtp, 'FW-DTP', 'targets', ('Shibuya et al. 2023',),
        (Published('MNIST, fully connected', 2.80, 'Kao and Hariharan 2024'),),
        settings=RATES, claims={'transport': 'none'},
    ),
    'ddtp_linear': Entry(
        ddtp_linear, 'DDTP-linear', 'targets', MEULEMANS, settings=PRETRAINED,
        claims={'transport': 'none', 'as_bp': with_top_kernel},
    ),
    'ddtp_control': Entry(
        ddtp_control, 'DDTP-control', 'targets', MEULEMANS, settings=PRETRAINED,
        claims={'transport': 'none'},
    ),
    'ddtp_rhl': Entry(
        ddtp_rhl, 'DDTP-RHL', 'targets', MEULEMANS, settings=PRETRAINED,
        claims={'transport': 'none'},
    ),
    'dtp_drl': Entry(
        dtp_drl, 'DTPDRL', 'targets', MEULEMANS, settings=PRETRAINED,
        claims={'transport': 'none', 'local_feedback': False},
    ),
    'gauss_newton_targets': Entry(
        gauss_newton_targets, 'GNT', 'targets', MEULEMANS, settings=RATES,
        claims={'transport': 'all'},
    ),
    'gait_prop': Entry(
        gait_prop, 'GAIT', 'targets', ('Ahmad, van Gerven and Ambrogioni 2020', 'Dalm et al. 2021'),
        settings=RATES | {'lr': 3e-4, 'beta2': 0.99, 'clip': 1.0},
        claims={'transport': 'all', 'as_bp': with_orthogonal_kernels, 'kinds': ('dense',)},
    ),
    'dfc': Entry(
        dfc, 'DFC', 'targets', ('Meulemans et al. 2021',),
        (Published('MNIST, 3x256, 100 epochs', 2.18, 'Meulemans et al. 2021, table 1'),),
        settings=PRETRAINED,
    ),
    'lra_e': Entry(
        lra_e, 'LRA-E', 'targets', ('Ororbia and Mali 2019',), settings=of_both(RATES),
        claims={'local_feedback': False},
    ),
    'lra_diff': Entry(lra_diff, 'LRA-diff', 'targets', ORORBIA, settings=RATES),
    'lra_fdbk': Entry(lra_fdbk, 'LRA-fdbk', 'targets', ORORBIA, settings=RATES),
    'feasible_targets': Entry(
        feasible_targets, 'FTP', 'targets', ('Friesen and Domingos 2018',),
        settings=RATES | {'activation': 'sign'}, demands={'activation': 'sign'},
    ),
    'contrastive_hebbian': Entry(
        contrastive_hebbian, 'CHL', 'energy',
        ('Movellan 1991', 'Xie and Seung 2003', "O'Reilly 1996"), settings=RATES,
        claims={'hparams': {'gamma': 0.1}}, demands=PRECISE,
    ),
    'random_contrastive_hebbian': Entry(
        random_contrastive_hebbian, 'rCHL', 'energy', ('Detorakis, Bartley and Neftci 2019',),
        settings=RATES, claims={'hparams': {'gamma': 0.1}}, demands=PRECISE,
    ),
    'recurrent_backpropagation': Entry(
        recurrent_backpropagation, 'RBP', 'energy', ('Almeida 1987', 'Pineda 1987'),
        settings=of_both(RATES), claims={'hparams': {'gamma': 0.1}}, demands=PRECISE,
    ),
    'boltzmann': Entry(
        boltzmann, 'BM', 'energy',
        ('Ackley, Hinton and Sejnowski 1985', 'Larochelle and Bengio 2008'), settings=RATES,
        demands={'activation': 'tanh'} | PRECISE,
    ),
    'recirculation': Entry(
        recirculation, 'recirc', 'energy', ('Hinton and McClelland 1987',),
        settings={
            'optimizer': 'sgd', 'lr': 0.2, 'feedback_optimizer': 'sgd', 'feedback_lr': 0.05,
        },
    ),
    'predictive_coding': Entry(
        predictive_coding, 'PC', 'energy', ('Whittington and Bogacz 2017',), settings=RATES,
        claims={'hparams': {'eta': 0.1}}, demands=PRECISE,
    ),
    'fixed_prediction': Entry(
        fixed_prediction, 'PC fixed', 'energy', ('Millidge, Tschantz and Buckley 2020',),
        settings=RATES, claims={'transport': 'all', 'as_bp': with_many_steps}, demands=PRECISE,
    ),
    'zero_divergence': Entry(
        zero_divergence, 'Z-IL', 'energy', ('Song et al. 2020',), settings=RATES,
        claims={'as_bp': lambda problem: problem}, demands=PRECISE,
    ),
    'nudged_predictive_coding': Entry(
        nudged_predictive_coding, 'PC nudged', 'energy', ('Kerjan, Scellier and Hoier 2026',),
        (Published('MNIST, VGG5, 100 epochs', 0.45, 'Kerjan, Scellier and Hoier 2026'),),
        settings=RATES, demands=PRECISE,
    ),
    'early_inference': Entry(
        early_inference, 'early', 'energy', ('Bengio and Fischer 2015',), settings=RATES,
        demands=PRECISE,
    ),
    'dual_propagation': Entry(
        dual_propagation, 'DP', 'energy', ('Hoier, Staudt and Zach 2023', 'Hoier and Zach 2024'),
        settings=RATES, demands=PRECISE,
    ),
    'equilibrium_propagation': Entry(
        equilibrium_propagation, 'EP', 'energy',
        (
            'Scellier and Bengio 2017', 'Bengio et al. 2017', 'Scellier et al. 2018',
            'Laborieux et al. 2021',
        ),
        settings=RATES, claims={'hparams': {'gamma': 0.1}}, demands=PRECISE,
    ),
    'feedforward_initialisation': Entry(
        feedforward_initialisation, 'FFI', 'energy', ('Bengio et al. 2016',),
        settings=of_both(RATES), claims={'local_feedback': False}, demands=PRECISE,
    ),
    'segregated_dendrites': Entry(
        segregated_dendrites, 'SD', 'neurons', ('Guerguiev, Lillicrap and Richards 2017',),
        (
            Published(
                'MNIST, 784-500-10, spiking, 60 epochs', 4.1,
                'Guerguiev, Lillicrap and Richards 2017',
            ),
        ),
        settings=RATES, claims={'transport': 'none'},
    ),
    'microcircuit': Entry(
        microcircuit, 'DMC', 'neurons', ('Sacramento et al. 2018',),
        (Published('MNIST, 784-500-500-10', 1.96, 'Sacramento et al. 2018'),),
        settings=of_both(RATES) | {'feedback_lr': 2e-3},
        claims={'transport': 'none', 'local_feedback': False}, demands={'activation': 'tanh'},
    ),
    'two_sites': Entry(
        two_sites, 'two sites', 'neurons', ('Koerding and Koenig 2001',),
        settings=RATES | {'weight_decay': 0.1},
        claims=ALIGNED | {'local_feedback': False}, tied=True,
    ),
    'burst': Entry(
        burst, 'BurstCCN', 'neurons', ('Payeur et al. 2021', 'Greedy et al. 2022'),
        (
            Published('MNIST, five layers', 1.84, 'Greedy et al. 2022'),
            Published('MNIST, Burstprop', 1.1, 'Payeur et al. 2021'),
        ),
        settings=RATES | {'lr': 3e-4, 'feedback_optimizer': 'sgd', 'feedback_lr': 0.0},
        demands={'activation': 'tanh'},
        claims={'transport': 'none', 'as_bp': with_forward_bursts, 'local_feedback': False},
    ),
    'broadcast_alignment': Entry(
        broadcast_alignment, 'BA', 'neurons', ('Samadi, Lillicrap and Tweed 2017',),
        settings=RATES | {'activation': 'lif'}, claims={'transport': 'none'},
        demands={'activation': 'lif'},
    ),
    'soft_hebb': Entry(
        soft_hebb, 'SoftHebb', 'neurons', ('Journe et al. 2023',),
        (Published('MNIST, convolutions', 0.6, 'Journe et al. 2023'),),
        settings=RATES | {'activation': 'softmax'},
        demands={'activation': ('softmax', 'triangle')},
    ),
    'competitive': Entry(
        competitive, 'competitive', 'neurons', ('Grossberg 1987',),
        settings=RATES | {'activation': 'softmax'},
        demands={'activation': ('softmax', 'triangle')},
    ),
}  # fmt: skip

# Rules of the field that are not here, and why.
MISSING = {
    'DTP-sigma (Ororbia and Mali 2019)': 'its equations were not found: the text was not seen',
    "Le Cun's learning machine of threshold units (1986)": 'its equations were not found; what '
    'came of it is `feasible_targets`',
    'FW-DTP with batch normalisation (Shibuya et al. 2023)': 'it couples the examples of a batch',
}


def label(rule: str) -> str:
    """What a rule is called; of a rule of the user's own, the name of its function."""
    return CATALOGUE[rule].label if rule in CATALOGUE else rule.rpartition(':')[2]


def check(rules: Iterable[str]) -> None:
    """Raises UserError for one that the catalogue does not have."""
    for rule in rules:
        if rule not in CATALOGUE:
            raise unknown('rule', rule, CATALOGUE)


def place(rule: str) -> int:
    """Its place in tables and figures; rules of the user's own come last."""
    return [*CATALOGUE, rule].index(rule)
