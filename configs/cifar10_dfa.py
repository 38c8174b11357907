"""Direct feedback alignment on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_dfa.py

Published test error, fully connected: 47.8 %.
Published, locally connected (net=lc): 44.41 %.
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'dfa', arguments)
