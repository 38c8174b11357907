"""SDTP with auxiliary outputs on ImageNet.

    python -m bioprop.main --config=configs/imagenet_ao_sdtp.py:schedule=alternating

Not published. The settings are those of SDTP, with 512 auxiliary units, not tuned.
Ours: not measured. Random-resized crops and flips, batch 256. Several machines: --distributed.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('imagenet2012', 'ao_sdtp', arguments)
