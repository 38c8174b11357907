"""Difference target propagation on MNIST.

    python -m bioprop.main --config=configs/mnist_dtp.py:schedule=alternating

Published test error, fully connected: 1.83 % (alternating), 2.86 % (parallel).
Published, locally connected (net=lc): 1.46 % (alternating), 1.52 % (parallel).
Ours alternating, 20 epochs: 2.52 % (54,000 training images), 10.2 s an epoch on one CPU core.
Ours parallel, 20 epochs: 2.62 % (54,000 training images), 3.9 s an epoch on one CPU core.
Ours alternating, locally connected, best of 20 epochs: 1.93 % (59,940 images), 71 s an epoch.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dtp', arguments)
