"""A sweep: how many auxiliary outputs AO-SDTP needs (figure 4 of the paper).

    python -m experiments.sweep --config=configs/auxiliary_units.py

The paper's figure is of CIFAR-10, from 0 units (which is SDTP) to 1000; this one is of MNIST, and
--config.dataset=cifar10 --config.net=lc make it another. Three seeds of each.
"""

from bioprop.settings import paper


def get_config(arguments: str = ''):
    return paper(
        'mnist', 'ao_sdtp', arguments,
        schedule='alternating', hyperparameters='tuned', epochs=20,
    )  # fmt: skip


def sweep():
    return [
        {'auxiliary_units': units, 'seed': seed}
        for units in (0, 16, 64, 256, 512, 1000)
        for seed in (0, 1, 2)
    ]
