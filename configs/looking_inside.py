"""Diagnostics of every rule in every schedule: why does one fail where another does not?

    python -m experiments.sweep --config=configs/looking_inside.py --study=studies/looking_inside

MNIST and Fashion-MNIST on the fully connected net, MNIST on the locally connected one. Settings on
the fully connected net are those of the searches' winners (results/looking_inside_settings.json),
elsewhere, and for rows not yet searched, ours where there are any and else the published ones. On
two CPU cores it takes about an hour and a half. docs/looking_inside.md reads the figures.
"""

import json
from pathlib import Path

from bioprop.config import paper

RULES = {
    'bp': ('parallel',),
    'fa': ('parallel',),
    'dfa': ('parallel',),
    'dtp': ('parallel', 'alternating'),
    'sdtp': ('parallel', 'alternating'),
    'ao_sdtp': ('parallel', 'alternating'),
}
CHEAPER = 'cheap,jacobian,descent'  # Gauss-Newton takes a second of MNIST's dense net
# (data set, net): epochs, seeds, what is measured, and how many steps apart (540 are a pass).
PANELS = {
    ('mnist', 'fc'): (10, 3, 'all', 540),
    ('fashion_mnist', 'fc'): (8, 2, CHEAPER, 270),
    ('mnist', 'lc'): (2, 2, CHEAPER, 135),
}


def get_config(arguments: str = ''):
    return paper('mnist', 'bp', arguments, hyperparameters='tuned')


def sweep():
    return [
        {
            'dataset': dataset, 'net': net, 'rule': rule, 'schedule': schedule, 'seed': seed,
            'epochs': epochs, 'diagnostics': names, 'diagnostics_every': every,
            **(winners().get((rule, schedule), {}) if net == 'fc' else {}),
        }
        for (dataset, net), (epochs, seeds, names, every) in PANELS.items()
        for rule, schedules in RULES.items()
        for schedule in schedules
        for seed in range(1, 1 + seeds)
    ]  # fmt: skip


def winners():
    """The winning hyperparameters by rule and schedule."""
    path = Path(__file__).parent.parent / 'results' / 'looking_inside_settings.json'
    rows = {row['name']: row['winner'] for row in json.loads(path.read_text())['rows']}
    found = {
        (rule, schedule): rows.get(rule if len(schedules) == 1 else f'{rule}_{schedule}')
        for rule, schedules in RULES.items()
        for schedule in schedules
    }
    return {row: winner for row, winner in found.items() if winner}
