"""Backpropagation on ImageNet.

    python -m bioprop.main --config=configs/imagenet_bp.py

Published top-1 error, locally connected: 71.43 %; convolutional (net=conv): 63.93 %.
Ours: not measured. Random-resized crops and flips, batch 256. Several machines: --distributed.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('imagenet2012', 'bp', arguments)
