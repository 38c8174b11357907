"""Difference target propagation on the digits that ship with bioprop, in about a minute.

python -m bioprop.main --config=configs/quickstart.py
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('mnist', 'dtp', arguments, dataset='mnist_mini', schedule='alternating', epochs=40)
