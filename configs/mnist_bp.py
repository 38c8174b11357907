"""Backpropagation on MNIST.

    python -m bioprop.main --config=configs/mnist_bp.py

Published test error, fully connected: 1.48 %.
Published, locally connected (net=lc): 1.17 %, convolutional (net=conv): 1.01 %.
Ours, 20 epochs: 2.31 % (54,000 training images), 4.5 s an epoch on one CPU core.
Ours, locally connected, 20 epochs: 1.70 % (54,000 training images), 28 s an epoch on one CPU core.
Ours, convolutional, 20 epochs: 1.32 %, 24 s an epoch.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'bp', arguments)
