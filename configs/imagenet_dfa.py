"""Direct feedback alignment on ImageNet.

    python -m bioprop.main --config=configs/imagenet_dfa.py

Not published: it ran out of memory. --config.feedback=regenerated holds no feedback array.
The settings are those of FA, not tuned.
Ours: not measured. Random-resized crops and flips, batch 256. Several machines: --distributed.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('imagenet2012', 'dfa', arguments)
