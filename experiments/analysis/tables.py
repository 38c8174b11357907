"""The rows of the paper's tables as JSON holds them, and how they are shown.

A row has its `name`, the spreads of its errors (None where there is nothing yet) beside the
published ones, what it took, and the `winner`'s hyperparameters.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bioprop.records.spreads import welch
from bioprop.records.writers import clock
from bioprop.settings import resolve
from experiments.analysis.overview import Entry, overview
from experiments.analysis.paper import CONTRASTS, row_name
from experiments.analysis.rows import SCORES
from experiments.analysis.text import shown, tabulated

Row = dict[str, Any]
EFFORT = ('runs', 'diverged', 'hours')
PAPER = ('paper_train', 'paper_test')


def rows(runs: pd.DataFrame, names: Iterable[str], published: dict) -> list[Row]:
    """Those of the names that have runs; published has the paper's 'train' and 'test' by name."""
    found = {row_name(each['method']): each for each in overview(runs)}
    return [row(name, found[name], published.get(name)) for name in names if name in found]


def all_rows(runs: pd.DataFrame) -> list[Row]:
    """Those of a study of any rules, by their labels."""
    return [row(each['method'].label, each, each['published']) for each in overview(runs)]


def row(name: str, entry: Entry, published: dict[str, float] | None) -> Row:
    """Of an entry of the overview."""
    figures, winner = published or {}, entry['winner']
    return {
        'name': name,
        **{score: entry[score] for score in SCORES},
        **{each: figures.get(each.removeprefix('paper_')) for each in PAPER},
        **{each: entry[each] for each in EFFORT},
        'winner': winner and resolve.hparams(winner),
    }


def text(rows: Iterable[Row], style: str = 'simple') -> str:
    """The rows as a table; `test` is at the best validation epoch."""
    scores = ('train', 'paper_train', 'validation', 'test', 'best_test', 'paper_test')
    cells = [
        [row['name'], *(shown(row[name]) for name in scores), (row['test'] or {}).get('seeds', 0)]
        + [row['runs'], row['diverged'], clock(3600 * row['hours'])]
        for row in rows
    ]
    headers = ['row', *scores, 'seeds', 'runs', 'diverged', 'time']
    return tabulated(cells, [name.replace('_', ' ') for name in headers], style)


def contrasts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Differences of two rows' mean test errors at the best validation epoch, in points.

    Of the rows that have two seeds at least: `difference`, `standard_error` and 95 % interval from
    `low` to `high`, beside the `published` difference.
    """
    known = {row['name']: row for row in rows if row['test'] and row['test']['seeds'] > 1}
    pairs = [(name, known[a], known[b]) for name, a, b in CONTRASTS if {a, b} <= known.keys()]
    if not pairs:
        return []
    found = welch(*(pd.DataFrame([pair[side]['test'] for pair in pairs]) for side in (1, 2)))
    papers = [[row['paper_test'] for row in pair] for _, *pair in pairs]
    published = [None if None in pair else pair[0] - pair[1] for pair in papers]
    found = found.assign(name=[name for name, *_ in pairs], published=published)
    return found.astype({'published': object}).to_dict('records')


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
