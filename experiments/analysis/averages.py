"""What a sweep's entries came to, over their seeds: as JSON holds it, and as a table."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from bioprop.records.numbers import numbers
from bioprop.records.spreads import spread
from experiments.analysis.measured import by_epoch
from experiments.analysis.series import records as records_of
from experiments.analysis.text import shown, tabulated

COUNTS = ('seeds', 'diverged')
SCORES = ('_error', '_loss', '_validation')  # the ends of their names
PLACES = ('layer_1', 'total')  # where angles are told


def averages(
    entries: Iterable[dict[str, Any]],
    names: Iterable[str],
    runs: pd.DataFrame,
    measured: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """A record for all entries that differ in the seed alone; a run counts once.

    names are those of the entries' runs, which have ended; measured are their `angles`.
    """
    changes = [json.dumps({key: x for key, x in each.items() if key != 'seed'}) for each in entries]
    told = pd.DataFrame({'changes': changes, 'name': names}).drop_duplicates()
    groups = told.merge(runs, on='name').groupby('changes', sort=False)
    scores = [name for name in runs if name.endswith(SCORES)]
    return [
        {
            'changes': json.loads(changes),
            'seeds': len(members),
            'diverged': int(members.diverged.sum()),
            'scores': {name: spread(members[name]) for name in scores},
            **_angles_of(measured, members['name']),
        }
        for changes, members in groups
    ]


def angles(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each `name` of a run, a column for each angle: 'signal_angle/total', ...

    They are what --config.diagnostics found on validation images in the last epoch, of the lowest
    layer and of all; an empty frame where it was not asked.
    """
    found = numbers(records_of(runs))
    found = by_epoch(found[found.part == 'validation'])
    found = found[found.metric.str.endswith('_angle') & found.place.isin(PLACES)]
    last = found[found.epoch == found.groupby('name').epoch.transform('max')]
    return last.assign(number=last.metric + '/' + last.place).pivot(
        index='name', columns='number', values='value'
    )


def _angles_of(measured: pd.DataFrame | None, names: pd.Series) -> dict[str, Any]:
    """{'angles': a spread of each} of the runs of those names; {} where there is none."""
    if measured is None:
        return {}
    own = measured.reindex(names).dropna(axis=1, how='all')
    found = {number: spread(own[number].dropna()) for number in own}
    return {'angles': found} if found else {}


def text(records: list[dict[str, Any]], style: str = 'simple') -> str:
    """The records as a table in a style of tabulate: errors in percent, losses per pixel.

    What is changed to one value in all records stands in the sweep alone.
    """
    changed, scored, turned = (
        list(dict.fromkeys(name for record in records for name in record.get(part, {})))
        for part in ('changes', 'scores', 'angles')
    )
    told = {key: {str(r['changes'].get(key, '-')) for r in records} for key in changed}
    changed = [key for key in changed if len(told[key]) > 1]
    cells = [
        [
            *(record['changes'].get(key, '-') for key in changed),
            *(record[key] for key in COUNTS),
            *(shown(record['scores'].get(name), 5 if 'loss' in name else 2) for name in scored),
            *(shown(record.get('angles', {}).get(name), 0) for name in turned),
        ]
        for record in records
    ]
    headers = [*changed, *COUNTS, *(name.replace('_', ' ') for name in (*scored, *turned))]
    return tabulated(cells, headers, style, left=len(changed))
