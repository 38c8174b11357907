"""What diagnostics found: a frame with a row for each number.

A name such as 'update_angle/kernel/layer_2' is a `metric`, 'update_angle/kernel', at a `place`:
'layer_l' (then `layer` is l), 'total', or '' where there is one number of the whole net. Beside
its `value` stands the standard deviation `over_images`, which records have under the name with
'/spread' behind it. Numbers that are not finite are left out.
"""

import numpy as np
import pandas as pd

from experiments.analysis.series import lines, records

NAME = r'^(?P<metric>.+?)(?:/(?P<place>total|layer_(?P<layer>\d+)))?(?P<spread>/spread)?$'
KEYS = ['name', 'part', 'step', 'epoch']


def measured(runs: pd.DataFrame) -> pd.DataFrame:
    """What was recorded in training: of each run by `name`, `part` of the data, `step`, `epoch`."""
    found = records(runs)
    found = found[found.kind == 'diagnostics'].dropna(axis=1, how='all')
    found = found.drop(columns=['kind', 'seconds'], errors='ignore')
    return apart(found.reindex(columns=dict.fromkeys([*KEYS, *found])), KEYS)


def apart(wide: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of numbers with their names taken apart; keys are the columns that are none."""
    found = wide.melt(keys, var_name='number').astype({'value': float})
    found = found[np.isfinite(found.value)]
    names = pd.DataFrame({'number': found.number.unique()})
    names = names.join(names.number.str.extract(NAME)).astype({'layer': float})
    found = found.merge(names.fillna({'place': '', 'spread': ''}), on='number')
    keys = [*keys, 'metric', 'place']
    over_images = found[found.spread != ''].rename(columns={'value': 'over_images'})
    found = found[found.spread == ''].drop(columns=['number', 'spread'])
    return found.merge(over_images[[*keys, 'over_images']], on=keys, how='left')


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
