"""A sweep: the autoencoder of the paper's appendix, 784-512-64-512-784, by three rules.

    python -m experiments.sweep --config=configs/autoencoder.py

Squared error behind a sigmoid, DTP and SDTP in parallel, three seeds of each. The paper gives no
settings, and those of its fully connected net drive the hidden units into saturation: these are
ours, from searches of 24 configurations. One rule alone, with checkpoints to draw digits of:

    python -m bioprop.main --config=configs/autoencoder.py:rule=dtp

Rules that have no settings of ours yet take those of the classifiers by
--config.paper_dataset=mnist.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper(
        'mnist', 'bp', arguments,
        loss='reconstruction', hidden=(512, 64, 512), epochs=50,
        paper_dataset='mnist_autoencoder', hyperparameters='tuned',
    )  # fmt: skip


def sweep():
    return [{'rule': rule, 'seed': seed} for rule in ('bp', 'dtp', 'sdtp') for seed in (0, 1, 2)]
