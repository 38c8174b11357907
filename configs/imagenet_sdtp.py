"""Simplified difference target propagation on ImageNet.

    python -m bioprop.main --config=configs/imagenet_sdtp.py

Published top-1 error, locally connected: 99.28 % (parallel). Alternating is not published: its
settings are those of the parallel schedule, not tuned.
Ours: not measured. Random-resized crops and flips, batch 256. Several machines: --distributed.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('imagenet2012', 'sdtp', arguments)
