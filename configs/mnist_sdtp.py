"""Simplified difference target propagation on MNIST.

    python -m bioprop.main --config=configs/mnist_sdtp.py:schedule=alternating

Published test error, fully connected: 2.28 % (alternating), 3.52 % (parallel).
@@OURS@@
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'sdtp', arguments, hyperparameters='tuned')
