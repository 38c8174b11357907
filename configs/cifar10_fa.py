"""Feedback alignment on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_fa.py

Published test error, fully connected: 41.97 %.
Published, locally connected (net=lc): 37.44 %.
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'fa', arguments)
