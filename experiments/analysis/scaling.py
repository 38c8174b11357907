"""How rules do as nets grow deeper and wider: functions of the runs of a study of scaling.

A row is of one rule on one net of `depth` hidden layers, each `width` units wide. It has the
spreads over seeds of its errors, of its test error above backpropagation's (seed by seed, on the
same net), and of the angles in the first layer, after the last epoch and on validation images: of
its signals to backpropagation's, where it has signals, and of its update of the kernel.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from bioprop.records.spreads import spread
from bioprop.rules import catalogue
from experiments.analysis.measured import last
from experiments.analysis.rows import SCORES
from experiments.analysis.series import records
from experiments.analysis.text import shown, tabulated

DEPTH, WIDTH = 3, 256  # of the nets of which the other one changes
FIXED = {'depth': ('width', WIDTH), 'width': ('depth', DEPTH)}  # by what changes: what does not
WORDS = {
    'depth': f'hidden layers of {WIDTH} units',
    'width': f'units of each of {DEPTH} hidden layers',
}
BASE = next(n for n, each in catalogue.CATALOGUE.items() if each.family == 'backpropagation')
ANGLES = {
    'signal_angle': ('signal_angle', 'layer_1'),
    'update_angle': ('update_angle/kernel', 'layer_1'),
}
TOLD = {  # what tables have of a row, and with how many digits
    'above_bp': ("test error above BP's (points)", 2),
    'test': ('test error (%)', 2),
    'signal_angle': ("angle of the first layer's signals to BP's (°)", 0),
    'update_angle': ("angle of the first layer's update to BP's (°)", 0),
}

Row = dict[str, Any]


def rows(runs: pd.DataFrame) -> list[Row]:
    """Those of the runs, which have ended: in the catalogue's order, from small nets to large."""
    runs = runs.assign(depth=runs.hidden.map(len), width=runs.hidden.map(lambda hidden: hidden[0]))
    angles = last(records(runs), ANGLES)
    base = runs[runs.rule == BASE].set_index(['depth', 'width', 'seed']).test
    groups = runs.groupby(['rule', 'depth', 'width'])
    found = [_row(*key, members, base, angles) for key, members in groups]
    return sorted(found, key=lambda row: (catalogue.place(row['rule']), row['depth'], row['width']))


def _row(
    rule: str, depth: int, width: int, runs: pd.DataFrame, base: pd.Series, angles: pd.DataFrame
) -> Row:
    entry = catalogue.CATALOGUE[rule]
    test = runs.set_index(['depth', 'width', 'seed']).test
    return {
        'rule': rule,
        'label': entry.label,
        'family': entry.family,
        'depth': depth,
        'width': width,
        'epochs': int(runs.epochs.iloc[0]),
        **{name: spread(runs[name]) for name in SCORES},
        'above_bp': spread(test - base.reindex(test.index)),
        **{name: spread(angles[name].reindex(runs['name'])) for name in ANGLES},
        'diverged': int(runs.diverged.sum()),
    }


def along(rows: Iterable[Row], axis: str) -> list[Row]:
    """Those of the nets whose depth, or width, changes, while the other one is the usual."""
    other, usual = FIXED[axis]
    return [row for row in rows if row[other] == usual]


def by_rule(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Each rule with its rows."""
    rows = list(rows)
    for rule in dict.fromkeys(row['rule'] for row in rows):
        yield rule, [row for row in rows if row['rule'] == rule]


def text(rows: list[Row], style: str = 'simple') -> str:
    """A table for each thing that is told, by depth and by width."""
    return '\n\n'.join(
        f'{words}, by {WORDS[axis]}\n\n' + _table(along(rows, axis), axis, name, digits, style)
        for name, (words, digits) in TOLD.items()
        for axis in FIXED
    )


def _table(rows: list[Row], axis: str, name: str, digits: int, style: str) -> str:
    sizes = sorted({row[axis] for row in rows})
    cells = []
    for _, members in by_rule(rows):
        told = {row[axis]: _cell(row, name, digits) for row in members}
        first = (members[0][key] for key in ('label', 'family', 'epochs'))
        cells.append([*map(str, first), *(told.get(size, '') for size in sizes)])
    return tabulated(cells, ['rule', 'family', 'epochs', *map(str, sizes)], style, left=2)


def _cell(row: Row, name: str, digits: int) -> str:
    """A number, and how many seeds diverged if any did."""
    return shown(row[name], digits) + (f' ({row["diverged"]} diverged)' if row['diverged'] else '')
