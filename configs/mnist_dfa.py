"""Direct feedback alignment on MNIST.

    python -m bioprop.main --config=configs/mnist_dfa.py

Published test error, fully connected: 2.75 %.
@@OURS@@
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dfa', arguments)
