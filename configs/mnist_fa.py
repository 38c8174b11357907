"""Feedback alignment on MNIST.

    python -m bioprop.main --config=configs/mnist_fa.py

Published test error, fully connected: 1.85 %.
Published, locally connected (net=lc): 1.26 %.
Ours, 20 epochs: 2.88 % (54,000 training images), 4.5 s an epoch on one CPU core.
Ours, locally connected, best of 20 epochs: 1.70 % (59,940 images), 28 s an epoch.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'fa', arguments)
