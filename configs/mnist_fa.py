"""Feedback alignment on MNIST.

    python -m bioprop.main --config=configs/mnist_fa.py

Published test error, fully connected: 1.85 %.
@@OURS@@
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'fa', arguments)
