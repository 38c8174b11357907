"""Every rule of bioprop, in the order of tables and figures: what it is called, and what it claims.

This is the one list: all else (configurations, searches, tables, figures, checks) follows from it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Rule
from bioprop.rules.equilibrium_propagation import equilibrium_propagation
from bioprop.rules.feedback_alignment import dfa, fa
from bioprop.rules.kolen_pollack import kolen_pollack, with_forward_kernels
from bioprop.rules.local_prediction import local_prediction, with_top_layer
from bioprop.rules.target_propagation import ao_sdtp, dtp, sdtp

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


def of_both(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a side's optimiser, for the forward and the feedback weights."""
    return {**settings, **{f'feedback_{name}': value for name, value in settings.items()}}


RATES = {'lr': 1e-3, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}

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
    'kolen_pollack': Entry(
        kolen_pollack, 'KP', 'feedback',
        ('Kolen and Pollack 1994', 'Akrout et al. 2019'),
        (Published('MNIST, 784-500-10, sigmoid, 400 epochs', 1.55, 'logs of Akrout et al. 2019'),),
        settings=of_both(RATES | {'weight_decay': 0.1}),  # 1 / (lr * decay) steps to align
        claims={'transport': 'none', 'local_feedback': False, 'as_bp': with_forward_kernels},
    ),
    'local_prediction': Entry(
        local_prediction, 'local pred', 'local',
        ('Nokland and Eidnes 2019', 'Belilovsky et al. 2020', 'Gong 2025'),
        (Published('MNIST, 3x1024, jitter, 100 epochs', 0.68, 'Nokland and Eidnes 2019'),),
        settings=of_both(RATES),
        claims={'transport': 'none', 'as_bp': with_top_layer},
    ),
    'equilibrium_propagation': Entry(
        equilibrium_propagation, 'EP', 'energy',
        ('Scellier and Bengio 2017', 'Laborieux et al. 2021'),
        settings=RATES,
        claims={'hparams': {'gamma': 0.1}},
    ),
}  # fmt: skip


def label(rule: str) -> str:
    """What a rule is called; of a rule of the user's own, the name of its function."""
    return CATALOGUE[rule].label if rule in CATALOGUE else rule.rpartition(':')[2]


def place(rule: str) -> int:
    """Its place in tables and figures; rules of the user's own come last."""
    return [*CATALOGUE, rule].index(rule)
