"""Any rule on Fashion-MNIST, with its options and hyperparameters.

    python -m bioprop.main --config=configs/fashion_mnist.py:rule=dtp,schedule=alternating

The rule is named after the colon: one of bioprop.rules.CATALOGUE, or your own as 'module:function'.
Its settings are ours where there are any, else the published ones, else its own defaults.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper('fashion_mnist', '', arguments, hyperparameters='tuned')
