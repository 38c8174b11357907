"""What a sweep's entries came to, over their seeds: as JSON holds it, and as a table."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from bioprop.records.spreads import spread
from experiments.analysis.text import shown, tabulated

COUNTS = ('seeds', 'diverged')
SCORES = ('_error', '_loss', '_validation')  # the ends of their names


def averages(
    entries: Iterable[dict[str, Any]], names: Iterable[str], runs: pd.DataFrame
) -> list[dict[str, Any]]:
    """A record for all entries that differ in the seed alone; a run counts once.

    names are those of the entries' runs, which have ended.
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
        }
        for changes, members in groups
    ]


def text(records: list[dict[str, Any]], style: str = 'simple') -> str:
    """The records as a table in a style of tabulate: errors in percent, losses per pixel."""
    changed, scored = (
        list(dict.fromkeys(name for record in records for name in record[part]))
        for part in ('changes', 'scores')
    )
    cells = [
        [
            *(record['changes'].get(key, '-') for key in changed),
            *(record[key] for key in COUNTS),
            *(shown(record['scores'].get(name), 5 if 'loss' in name else 2) for name in scored),
        ]
        for record in records
    ]
    headers = [*changed, *COUNTS, *(name.replace('_', ' ') for name in scored)]
    return tabulated(cells, headers, style, left=len(changed))
