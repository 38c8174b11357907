"""Difference target propagation on the part of MNIST that ships with bioprop.

python -m bioprop.main --config=configs/quickstart.py --workdir=runs/quickstart
"""

from bioprop.config import paper


def get_config(arguments: str = ''):
    config = paper("mnist", "dtp", "schedule=alternating")
    config.dataset = 'mnist_mini'
    config.epochs = 40
    return config
