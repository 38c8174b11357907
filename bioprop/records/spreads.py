"""Means and standard deviations over seeds, and their differences: functions of data frames."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Spread = dict[str, float]  # 'mean', 'deviation' (0 for one seed) and 'seeds'


def spreads(values: 'pd.Series', by: Any) -> 'pd.DataFrame':
    """The spread of each group that has a value; by is what `groupby` takes."""
    groups = values.astype(float).groupby(by, sort=False)
    found = groups.agg(mean='mean', deviation='std', seeds='count')
    return found[found.seeds > 0].fillna({'deviation': 0.0})


def spread(values: 'pd.Series') -> Spread | None:
    """Of all values that are there; None if none is."""
    return next(iter(spreads(values, lambda _: 0).to_dict('records')), None)


def welch(a: 'pd.DataFrame', b: 'pd.DataFrame', confidence: float = 0.95) -> 'pd.DataFrame':
    """a - b of spreads of independent seeds, row by row; deviations need not be the same (Welch).

    Columns are `difference`, its `standard_error`, and the ends `low` and `high` of the confidence
    interval. Rows are those of both that have two seeds at least.
    """
    from scipy import stats

    a, b = (each[each.seeds > 1] for each in (a, b))
    both = a.index.intersection(b.index, sort=False)
    a, b = a.loc[both], b.loc[both]
    parts = [(each.deviation**2 / each.seeds, each.seeds - 1) for each in (a, b)]
    variance = parts[0][0] + parts[1][0]
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    difference, error = a['mean'] - b['mean'], variance**0.5
    reach = np.nan_to_num(stats.t.ppf((1 + confidence) / 2, freedom) * error)  # 0 if none varies
    found = difference.to_frame('difference').assign(standard_error=error)
    return found.assign(low=difference - reach, high=difference + reach)
