"""What diagnostics found, a row for each number: functions of data frames.

A name such as 'update_angle/kernel/layer_2' is a `metric`, 'update_angle/kernel', at a `place`:
'layer_l' (then `layer` is l), 'total', or '' where there is one number of the whole net. Beside
its `value` stands the standard deviation `over_images`, which records have under the name with
'/spread' behind it. Numbers that are not finite are left out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

NAME = r'^(?P<metric>.+?)(?:/(?P<place>total|layer_(?P<layer>\d+)))?(?P<spread>/spread)?$'
KEYS = ('name', 'part', 'step', 'epoch')


def numbers(records: 'pd.DataFrame') -> 'pd.DataFrame':
    """Those of the records of `bioprop.records.records`: of the run of a `name`, on a `part` of
    the data, at a `step` of an `epoch`.
    """
    found = records[records.kind == 'diagnostics'].dropna(axis=1, how='all')
    found = found.drop(columns=['kind', 'seconds'], errors='ignore')
    return apart(found.reindex(columns=list(dict.fromkeys([*KEYS, *found]))), KEYS)


def apart(wide: 'pd.DataFrame', keys: Sequence[str]) -> 'pd.DataFrame':
    """A row for each number of the columns that are no keys, their names taken apart."""
    found = wide.melt(keys, var_name='number').astype({'value': float})
    found = found[np.isfinite(found.value)]
    names = found[['number']].drop_duplicates()
    names = names.join(names.number.str.extract(NAME)).astype({'layer': float})
    found = found.merge(names.fillna({'place': '', 'spread': ''}), on='number')
    keys = [*keys, 'metric', 'place']
    over_images = found[found.spread != ''].rename(columns={'value': 'over_images'})
    found = found[found.spread == ''].drop(columns=['number', 'spread'])
    return found.merge(over_images[[*keys, 'over_images']], on=keys, how='left')
