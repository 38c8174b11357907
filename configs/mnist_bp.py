"""Backpropagation on MNIST.

    python -m bioprop.main --config=configs/mnist_bp.py

Published test error, fully connected: 1.48 %.
@@OURS@@
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'bp', arguments)
