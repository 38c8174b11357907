"""Diagnostics of the paper's rules in every schedule: why does one fail where another does not?

    python -m experiments.sweep --config=configs/looking_inside.py --study=studies/looking_inside

MNIST and Fashion-MNIST on the fully connected net, MNIST on the locally connected one. Settings on
the fully connected net are those of the searches' winners (results/looking_inside_settings.json),
elsewhere, and for rows not yet searched, ours where there are any and else the published ones. On
two CPU cores it takes about an hour and a half. docs/looking_inside.md reads the figures.
"""

import json
from pathlib import Path

from bioprop import rules
from bioprop.settings import paper
from bioprop.settings.published import row_name

SETTINGS = Path(__file__).parent.parent / 'results' / 'looking_inside_settings.json'
CHEAPER = 'cheap,examples,jacobian,descent'  # Gauss-Newton takes a second on MNIST's dense net
# (data set, net): epochs, seeds, what is measured, and how many steps apart (540 are a pass).
PANELS = {
    ('mnist', 'fc'): (10, 3, 'all', 540),
    ('fashion_mnist', 'fc'): (8, 2, CHEAPER, 270),
    ('mnist', 'lc'): (2, 2, CHEAPER, 135),
}


def get_config(arguments: str = ''):
    return paper('mnist', 'bp', arguments, hyperparameters='tuned')


def sweep():
    winners = {row['name']: row['winner'] for row in json.loads(SETTINGS.read_text())['rows']}
    return [
        {
            'dataset': dataset, 'net': net, 'rule': rule, 'schedule': schedule, 'seed': seed,
            'epochs': epochs, 'diagnostics': names, 'diagnostics_every': every,
            **((winners[row_name(net, rule, schedule)] or {}) if net == 'fc' else {}),
        }
        for (dataset, net), (epochs, seeds, names, every) in PANELS.items()
        for rule in rules.RULES
        for schedule in schedules(rule)
        if row_name('fc', rule, schedule) in winners
        for seed in range(1, 1 + seeds)
    ]  # fmt: skip


def schedules(rule):
    trained = rules.get(rule).sides
    return ('parallel', 'alternating') if 'feedback' in trained else ('parallel',)
