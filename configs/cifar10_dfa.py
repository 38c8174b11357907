"""Direct feedback alignment on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_dfa.py

Published test error, fully connected: 47.8 %.
Ours: not measured. Images are not augmented yet, as those of the paper are.
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'dfa', arguments)
