"""Lines of what diagnostics found in training: functions of `bioprop.records.numbers`."""

from collections.abc import Mapping

import pandas as pd

from bioprop.records.numbers import numbers
from experiments.analysis.series import lines


def by_epoch(found: pd.DataFrame) -> pd.DataFrame:
    """The mean of each number over the records of an epoch."""
    keys = ['name', 'part', 'epoch', 'metric', 'place', 'layer']
    groups = found.groupby(keys, sort=False, dropna=False)
    return groups[['value', 'over_images']].mean().reset_index()


def last(records: pd.DataFrame, wanted: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """By run, a column for each name: the last number of its metric and place.

    On validation images; missing where none was measured.
    """
    if not (records.kind == 'diagnostics').any():
        return pd.DataFrame(columns=list(wanted), dtype=float)
    found = numbers(records).sort_values('step')
    found = found[found.part == 'validation'].groupby(['name', 'metric', 'place']).value.last()
    places = pd.MultiIndex.from_tuples(wanted.values())
    return found.unstack(['metric', 'place']).reindex(columns=places).set_axis([*wanted], axis=1)


def over_epochs(found: pd.DataFrame, runs: pd.DataFrame, metric: str, place: str) -> pd.DataFrame:
    """The lines of a number, from its means `by_epoch`."""
    points = found[(found.metric == metric) & (found.place == place)]
    return lines(points.rename(columns={'epoch': 'x'}), runs)


def over_layers(found: pd.DataFrame, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The lines of a metric over layers: the last epoch, of the seeds that came so far."""
    points = found[(found.metric == metric) & found.layer.notna()].rename(columns={'layer': 'x'})
    rows = points['name'].map(runs.set_index('name').row)
    last = points.epoch.groupby([rows, points.x]).transform('max')
    return lines(points[points.epoch == last], runs)
