"""Difference target propagation on MNIST.

    python -m bioprop.main --config=configs/mnist_dtp.py:schedule=alternating

Published test error, fully connected: 1.83 % (alternating), 2.86 % (parallel).
@@OURS@@
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dtp', arguments)
