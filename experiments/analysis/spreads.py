"""Means and standard deviations over seeds, their differences, and how they are written."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tabulate import tabulate

Spread = dict[str, float]  # 'mean', 'deviation' (0 for one seed) and 'seeds'


def spreads(values: pd.Series, by: Any) -> pd.DataFrame:
    """The spread of each group that has a value; by is what `groupby` takes."""
    groups = values.astype(float).groupby(by, sort=False)
    found = groups.agg(mean='mean', deviation='std', seeds='count')
    return found[found.seeds > 0].fillna({'deviation': 0.0})


def spread(values: pd.Series) -> Spread | None:
    """Of all values that are there; None if none is."""
    return next(iter(spreads(values, lambda _: 0).to_dict('records')), None)


def welch(a: pd.DataFrame, b: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """a - b of independent means, row by row; deviations need not be the same (Welch).

    Columns are `difference`, its `standard_error`, and the ends `low` and `high` of the confidence
    interval. Rows are those of both that have two seeds at least.
    """
    a, b = (each[each.seeds > 1] for each in (a, b))
    both = a.index.intersection(b.index, sort=False)
    a, b = a.loc[both], b.loc[both]
    parts = [(each.deviation**2 / each.seeds, each.seeds - 1) for each in (a, b)]
    variance = parts[0][0] + parts[1][0]
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    found = pd.DataFrame({'difference': a['mean'] - b['mean'], 'standard_error': variance**0.5})
    reach = stats.t.ppf((1 + confidence) / 2, freedom) * found.standard_error
    reach = np.nan_to_num(reach)  # where nothing varies
    return found.assign(low=found.difference - reach, high=found.difference + reach)


def shown(value: Spread | float | None, digits: int = 2) -> str:
    """With so many digits after the point, and the deviation where there are several seeds."""
    match value:
        case None:
            return '-'
        case {'mean': mean, 'deviation': deviation, 'seeds': seeds}:
            alone = f'{mean:.{digits}f}'
            return f'{alone} ± {deviation:.{digits}f}' if seeds > 1 else alone
    return f'{value:.{digits}f}'


def tabulated(
    cells: Iterable[Sequence[Any]], headers: Sequence[str], style: str = 'simple', left: int = 1
) -> str:
    """A table in a style of tabulate: simple, github, ...; the columns after `left` are numbers."""
    align = ['left'] * left + ['right'] * (len(headers) - left)
    return tabulate(cells, headers, tablefmt=style, disable_numparse=True, colalign=align)
