"""Direct feedback alignment on MNIST.

    python -m bioprop.main --config=configs/mnist_dfa.py

Published test error, fully connected: 2.75 %.
Published, locally connected (net=lc): 2.05 %.
Ours, 20 epochs: 2.41 % (54,000 training images), 4.3 s an epoch on one CPU core.
Ours, locally connected, 5 epochs: 3.21 % (54,000 training images), 21 s an epoch on one CPU core.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dfa', arguments)
