"""Backpropagation on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_bp.py

Published test error, fully connected: 41.32 %.
Ours: not measured. Images are not augmented yet, as those of the paper are.
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'bp', arguments)
