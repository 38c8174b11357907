"""Simplified difference target propagation on MNIST.

    python -m bioprop.main --config=configs/mnist_sdtp.py:schedule=alternating

Published test error, fully connected: 2.28 % (alternating), 3.52 % (parallel).
Published, locally connected (net=lc): 1.90 % (alternating), 1.98 % (parallel).
Ours parallel, 20 epochs: 3.70 % (54,000 training images), 4.1 s an epoch on one CPU core.
Ours alternating, 100 epochs: 2.59 % (54,000 training images), 4.7 s an epoch on one CPU core.
Ours alternating, locally connected, 3 epochs: 3.83 % (54,000 training images), 76 s an epoch.
The settings are ours: hyperparameters='tuned'.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'sdtp', arguments, hyperparameters='tuned')
