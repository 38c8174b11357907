"""The rows of the paper's tables as JSON holds them, and how they are shown.

A row has its `name`, the spreads of its errors (None where there is nothing yet) beside the
published ones, what it took, and the `winner`'s hyperparameters.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bioprop.records.writers import clock
from bioprop.settings import resolve
from experiments.analysis.overview import overview
from experiments.analysis.paper import CONTRASTS, row_name
from experiments.analysis.rows import SCORES
from experiments.analysis.spreads import shown, tabulated, welch

Row = dict[str, Any]
COLUMNS = {
    'row': lambda row: row['name'],
    'train': lambda row: shown(row['train']),
    'paper train': lambda row: shown(row['paper_train']),
    'validation': lambda row: shown(row['validation']),
    'test': lambda row: shown(row['test']),  # at the best validation epoch
    'best test': lambda row: shown(row['best_test']),
    'paper test': lambda row: shown(row['paper_test']),
    'seeds': lambda row: row['test']['seeds'] if row['test'] else 0,
    'runs': lambda row: row['runs'],
    'diverged': lambda row: row['diverged'],
    'time': lambda row: clock(3600 * row['hours']),
}
EFFORT = ('runs', 'diverged', 'hours')
PAPER = ('paper_train', 'paper_test')


def rows(runs: pd.DataFrame, names: Iterable[str], published: dict) -> list[Row]:
    """Those of the names that have runs; published has the paper's 'train' and 'test' by name."""
    found = {row_name(each['method']): each for each in overview(runs)}
    return [
        {'name': name, **{score: found[name][score] for score in SCORES}}
        | {each: published.get(name, {}).get(each.removeprefix('paper_')) for each in PAPER}
        | {each: found[name][each] for each in EFFORT}
        | {'winner': found[name]['winner'] and resolve.hparams(found[name]['winner'])}
        for name in names
        if name in found
    ]


def text(rows: Iterable[Row], style: str = 'simple') -> str:
    """The rows as a table."""
    return tabulated(
        [[cell(row) for cell in COLUMNS.values()] for row in rows], list(COLUMNS), style
    )


def contrasts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Differences of two rows' mean test errors at the best validation epoch, in points.

    Of the rows that have two seeds at least: `difference`, `standard_error` and 95 % interval from
    `low` to `high`, beside the `published` difference.
    """
    known = {row['name']: row for row in rows if row['test'] and row['test']['seeds'] > 1}
    pairs = [(name, known[a], known[b]) for name, a, b in CONTRASTS if {a, b} <= known.keys()]
    if not pairs:
        return []
    sides = [pd.DataFrame([pair[side]['test'] for pair in pairs]) for side in (1, 2)]
    return [
        {'name': name, **found, 'published': _published(a['paper_test'], b['paper_test'])}
        for (name, a, b), found in zip(pairs, welch(*sides).to_dict('records'), strict=True)
    ]


def _published(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def contrasts_text(found: Iterable[dict[str, Any]], style: str = 'simple') -> str:
    """The differences as a table."""
    cells = [
        (
            each['name'],
            f'{each["difference"]:+.2f} ± {each["standard_error"]:.2f}',
            f'{each["low"]:+.2f} to {each["high"]:+.2f}',
            '-' if each['published'] is None else f'{each["published"]:+.2f}',
        )
        for each in found
    ]
    headers = ('difference of test errors', 'points ± standard error', '95 % interval', 'paper')
    return tabulated(cells, headers, style)


def as_csv(rows: Iterable[Row]) -> str:
    """The numbers, a column each: means and deviations apart."""
    there = [{key: value for key, value in row.items() if value is not None} for row in rows]
    flat = pd.json_normalize(there, sep='_').rename(columns=lambda name: name.removesuffix('_mean'))
    flat = flat.rename(columns={'name': 'row', 'train_seeds': 'seeds'}).fillna({'seeds': 0})
    spreads = [f'{name}{part}' for name in SCORES for part in ('', '_deviation')]
    return flat.reindex(columns=['row', *spreads, 'seeds', *PAPER, *EFFORT]).to_csv(index=False)


def page(rows: list[Row], style: str = 'simple') -> str:
    """The table, and the differences of its rows if there are any."""
    differences = contrasts(rows)
    parts = [text(rows, style)]
    parts += [contrasts_text(differences, style)] if differences else []
    return '\n\n'.join(parts) + '\n'
