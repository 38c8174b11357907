"""Lines of what diagnostics found in training: functions of `bioprop.records.numbers`."""

import pandas as pd

from experiments.analysis.series import lines


def by_epoch(found: pd.DataFrame) -> pd.DataFrame:
    """The mean of each number over the records of an epoch."""
    keys = ['name', 'part', 'epoch', 'metric', 'place', 'layer']
    groups = found.groupby(keys, sort=False, dropna=False)
    return groups[['value', 'over_images']].mean().reset_index()


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
