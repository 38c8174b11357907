"""Simplified difference target propagation on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_sdtp.py:schedule=alternating

Published test error, fully connected: 54.27 % (alternating), 55.32 % (parallel).
Published, locally connected (net=lc): 45.66 % (alternating), 46.63 % (parallel).
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'sdtp', arguments)
