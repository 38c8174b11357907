"""A sweep: DTP alternating on Fashion-MNIST, where one of three seeds breaks at MNIST's settings.

    python -m experiments.sweep --config=configs/steady_dtp.py

Half the forward rate or a third of the inverses' rate, three seeds of each.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper(
        'fashion_mnist', 'dtp', arguments,
        schedule='alternating', hyperparameters='tuned', epochs=50,
    )  # fmt: skip


def sweep():
    return [
        rates | {'seed': seed}
        for rates in ({'lr': 1.5e-4}, {'feedback_lr': 1.5e-3})
        for seed in (0, 1, 2)
    ]
