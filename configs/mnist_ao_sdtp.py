"""Simplified difference target propagation with auxiliary outputs on MNIST.

    python -m bioprop.main --config=configs/mnist_ao_sdtp.py:schedule=alternating

Published test error, fully connected: 1.86 % (alternating), 2.93 % (parallel).
Published, locally connected (net=lc): 1.91 % (alternating), 1.92 % (parallel).
Ours parallel, 20 epochs: 2.85 % (54,000 training images), 4.6 s an epoch on one CPU core.
Ours alternating, 100 epochs: 2.40 % (54,000 training images), 5.3 s an epoch on one CPU core.
Ours alternating, locally connected, 3 epochs: 3.98 % (54,000 training images), 76 s an epoch.
The settings are ours: hyperparameters='tuned'.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'ao_sdtp', arguments, hyperparameters='tuned')
