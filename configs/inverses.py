r"""A sweep: which inverse, and where do targets start? DTP and L-DRL beside backpropagation.

    python -m experiments.sweep --config=configs/inverses.py --study=studies/inverses
    python -m experiments.sweep --config=configs/inverses.py --config.net=lc --config.epochs=5 \
        --study=studies/inverses_lc

MNIST, two seeds; every rate is Adam's 1e-3, and signals are displacements for each unit of the step
alpha. docs/inverses.md shows what came of it.
"""

import itertools

from bioprop.rules.inverses import INVERSES
from bioprop.rules.target_propagation import STARTS
from bioprop.settings import paper

ALPHA = 0.1
SIDES = ('', 'feedback_')
ADAM = {'lr': 1e-3, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}
OF_RULES = {'dtp': {'scale': 0.5 / ALPHA}, 'l_drl': {}}


def get_config(arguments: str = ''):
    rates = {f'{side}{name}': value for side in SIDES for name, value in ADAM.items()}
    return paper(
        'mnist', 'bp', arguments,
        epochs=20, diagnostics='signal,jacobian', diagnostics_every=540, **rates,
    )  # fmt: skip


def sweep():
    rows = [
        {'rule': 'bp'},
        *(
            {'rule': rule, 'start': start, 'inverse': inverse, 'alpha': ALPHA, 'sigma': 0.1, **own}
            for (rule, own), start, inverse in itertools.product(OF_RULES.items(), STARTS, INVERSES)
        ),
    ]
    return [row | {'seed': seed} for row in rows for seed in (1, 2)]
