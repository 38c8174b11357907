"""Difference target propagation on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_dtp.py:schedule=alternating

Published test error, fully connected: 42.32 % (alternating), 59.14 % (parallel).
Published, locally connected (net=lc): 39.47 % (alternating), 39.47 % (parallel).
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'dtp', arguments)
