"""Difference target propagation on the digits that ship with bioprop, in about a minute.

python -m bioprop.main --config=configs/quickstart.py

Ours: 5.6 % test error at the best validation epoch, 40 epochs. This is a part of MNIST, not MNIST.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dtp', arguments, dataset='mnist_mini', schedule='alternating', epochs=40)
