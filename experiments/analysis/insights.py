"""A study's diagnostics in numbers: functions of its runs, that give what JSON holds."""

from typing import Any

import pandas as pd

from bioprop.records.numbers import numbers
from bioprop.records.spreads import spreads, welch
from bioprop.running.looks import PARTS
from experiments.analysis.measured import by_epoch
from experiments.analysis.overview import entry
from experiments.analysis.paper import CONTRASTS, LOOKS, row_name
from experiments.analysis.rows import panels, winners
from experiments.analysis.series import records

NUMBER = ['metric', 'place']
Tree = dict[str, dict[str, dict[str, float]]]  # by metric and place


def insight(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The panels of a study in which something was measured, as JSON holds them."""
    found = []
    for panel, members in panels(runs):
        won = winners(members)
        measured = numbers(records(won))
        if len(measured):
            told = {'panel': panel.title, **panel._asdict()}
            found.append(told | _panel(won, measured))
    return found


def _panel(won: pd.DataFrame, measured: pd.DataFrame) -> dict[str, Any]:
    rows, last = [], {}
    for _, seeds in won.groupby('row'):
        ours = measured[measured['name'].isin(seeds['name'])]
        if ours.empty:
            continue
        found = {part: moments(ours[ours.part == part]) for part in PARTS}
        told = {part: {each: tree(x) for each, x in found[part].items()} for part in PARTS}
        rows.append(_row(seeds) | told)
        last[rows[-1]['row']] = found['validation']['last']
    return {'rows': rows, 'differences': differences(last)}


def _row(seeds: pd.DataFrame) -> dict[str, Any]:
    """A winner and its scores."""
    told = entry(seeds)
    panel, method = told['panel'], told['method']
    return {
        'row': row_name(method),
        **{name: getattr(method, name) for name in ('rule', 'schedule', 'net', 'units')},
        'epochs': told['epochs'],
        'seeds': told['planned'],
        'diverged': told['diverged_seeds'],
        panel.measure: {name: told[name] for name in ('validation', 'test')},
    }


def moments(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Spreads of a part's numbers at the first record of each seed, and in the last epoch of any.

    A seed that ended before it does not count there.
    """
    first = found.groupby('name').step.transform('min')
    return {
        'first': _over_seeds(found[found.step == first]),
        'last': _over_seeds(found[found.epoch == found.epoch.max()]),
    }


def _over_seeds(found: pd.DataFrame) -> pd.DataFrame:
    means = by_epoch(found)
    over_images = means.groupby(NUMBER, sort=False).over_images.mean()
    return spreads(means.value, [means.metric, means.place]).join(over_images)


def tree(found: pd.DataFrame) -> Tree:
    """A frame indexed by metric and place; the place is 'whole' where there is none."""
    grown = {}
    for (metric, place), told in zip(found.index, found.to_dict('records'), strict=True):
        told = {name: value for name, value in told.items() if pd.notna(value)}
        grown.setdefault(metric, {})[place or 'whole'] = told
    return grown


def differences(last: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Of pairs of rows, in the last epoch on validation images."""
    return [
        {'name': name, 'minuend': a, 'subtrahend': b, 'differences': tree(welch(last[a], last[b]))}
        for name, a, b in (*CONTRASTS, *LOOKS)
        if {a, b} <= last.keys()
    ]
