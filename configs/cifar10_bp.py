"""Backpropagation on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_bp.py

Published test error, fully connected: 41.32 %.
Published, locally connected (net=lc): 32.41 %, convolutional (net=conv): 31.87 %.
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'bp', arguments)
