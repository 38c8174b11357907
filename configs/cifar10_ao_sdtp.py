"""Simplified difference target propagation with auxiliary outputs on CIFAR-10.

    python -m bioprop.main --config=configs/cifar10_ao_sdtp.py:schedule=alternating

Published test error, fully connected: 45.4 % (alternating), 47.11 % (parallel).
Published, locally connected (net=lc): 40.21 % (alternating), 40.05 % (parallel).
Ours: not measured. Training images are cropped and flipped at random, as the paper's.
The paper gives no settings for this rule: those of SDTP are used.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('cifar10', 'ao_sdtp', arguments)
