"""A sweep: the autoencoder of the paper's appendix, 784-512-64-512-784, by three rules.

    python -m experiments.sweep --config=configs/autoencoder.py

Squared error behind a sigmoid. The paper gives no settings: those of the fully connected net are
used (for SDTP ours), and three seeds of each. One rule alone, with checkpoints to draw digits of:

    python -m bioprop.main --config=configs/autoencoder.py --config.rule=dtp
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper(
        'mnist', 'bp', arguments,
        loss='squared_error', hidden=(512, 64, 512), hyperparameters='tuned', epochs=50,
    )  # fmt: skip


def sweep():
    return [{'rule': rule, 'seed': seed} for rule in ('bp', 'dtp', 'sdtp') for seed in (0, 1, 2)]
