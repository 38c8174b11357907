"""What a sweep's entries came to, over their seeds: functions that give what JSON holds."""

import json
from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

from bioprop.studies.study import Config, Result, run_name
from experiments.analysis.rows import grouped
from experiments.analysis.tables import Spread, shown, spread

COUNTS = ('seeds', 'diverged')
SCORES = ('_error', '_loss', '_validation')  # the ends of their names


def averages(
    entries: Iterable[dict[str, Any]], configs: Iterable[Config], result: Result
) -> list[dict[str, Any]]:
    """A record for all entries that differ in the seed alone; a run counts once.

    result gives the summary of every configuration: the runs have ended.
    """

    def changes(pair):
        kept = {key: value for key, value in pair[0].items() if key != 'seed'}
        return json.loads(json.dumps(kept))

    groups = grouped(zip(entries, configs, strict=True), lambda pair: repr(changes(pair)))
    return [
        {'changes': changes(pairs[0])}
        | _average(list({run_name(config): result(config) for _, config in pairs}.values()))
        for pairs in groups.values()
    ]


def _average(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in summaries[0] if name.endswith(SCORES)]
    found = {name: spread([summary[name] for summary in summaries]) for name in names}
    return {
        'seeds': len(summaries),
        'diverged': sum(summary['diverged'] for summary in summaries),
        'scores': {name: value and value._asdict() for name, value in found.items()},
    }


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
            *(_cell(name, record['scores'].get(name)) for name in scored),
        ]
        for record in records
    ]
    headers = [*changed, *COUNTS, *(name.replace('_', ' ') for name in scored)]
    align = [*['left'] * len(changed), *['right'] * (len(headers) - len(changed))]
    return tabulate(cells, headers, tablefmt=style, disable_numparse=True, colalign=align)


def _cell(name, value):
    return shown(value and Spread(**value), digits=5 if 'loss' in name else 2)
