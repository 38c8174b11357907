"""Direct feedback alignment on Fashion-MNIST.

    python -m bioprop.main --config=configs/fashion_mnist_dfa.py

The paper has no Fashion-MNIST: the net and the settings are those for MNIST.
Not measured yet.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('fashion_mnist', 'dfa', arguments)
