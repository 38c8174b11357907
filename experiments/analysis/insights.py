"""A study's diagnostics in numbers: pure functions of its runs, that give what JSON holds."""

from typing import Any

from bioprop.settings import published
from experiments.analysis.measured import (
    PARTS,
    SPREAD,
    Numbers,
    diagnostics,
    means,
    numbers,
    place_of,
)
from experiments.analysis.overview import entry
from experiments.analysis.results import Run
from experiments.analysis.rows import Method, Panel, table, winners
from experiments.analysis.tables import CONTRASTS, Spread, spread, welch
from experiments.analysis.words import title

# Pairs of rows that are compared: (name, minuend, subtrahend).
PAIRS = (
    *CONTRASTS,
    ('parallel: dtp - ao_sdtp', 'dtp_parallel', 'ao_sdtp_parallel'),
    ('alternating: dtp - ao_sdtp', 'dtp_alternating', 'ao_sdtp_alternating'),
)


def insight(runs: list[Run], searched: bool = False) -> list[dict[str, Any]]:
    """The panels of a study in which something was measured, as JSON holds them."""
    panels = []
    for panel, methods in table(runs).items():
        found = [
            _row(panel, method, members) for method, members in winners(methods, searched).items()
        ]
        rows = [row for row in found if any(row[part]['last'] for part in PARTS)]
        if rows:
            told = {'panel': title(panel), **panel._asdict()}
            panels.append(told | {'rows': rows, 'differences': differences(rows)})
    return panels


def row_name(method: Method) -> str:
    """As in the tables; of alternating by step, which they lack, with '_step' behind it."""
    name = published.row_name(method.net, method.rule, method.schedule)
    return f'{name}_step' if method.schedule == 'alternating_step' else name


def _row(panel: Panel, method: Method, runs: list[Run]) -> dict[str, Any]:
    """A winner: its scores, and what was measured in its seeds."""
    told = entry(panel, method, runs)
    scores = {'validation': told.validation, 'test': told.test}
    records = [run.records() for run in runs]
    return {
        'row': row_name(method),
        **method._asdict(),
        'epochs': told.epochs,
        'seeds': len(runs),
        'diverged': told.diverged_seeds,
        panel.measure: {name: score and score._asdict() for name, score in scores.items()},
        **{part: moments([diagnostics(each, part) for each in records]) for part in PARTS},
    }


def moments(seeds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """What the records of a part say at the first of them, and in the last epoch of any seed.

    A seed that ended before it does not count there.
    """
    seeds = [records for records in seeds if records]
    if not seeds:
        return {'first': {}, 'last': {}}
    end = max(records[-1]['epoch'] for records in seeds)
    ended = [[each for each in records if each['epoch'] == end] for records in seeds]
    return {
        'first': by_place([numbers(records[0]) for records in seeds]),
        'last': by_place([means(records) for records in ended if records]),
    }


def by_place(seeds: list[Numbers]) -> dict[str, Any]:
    """{metric: {place: mean and standard deviation over the seeds}}; 'whole' where it has none.

    'over_images' is the standard deviation over the images, where there is one: its mean.
    """
    found = {}
    names = dict.fromkeys(name for each in seeds for name in each if not name.endswith(SPREAD))
    for name in names:
        over_seeds, over_images = (
            spread([each.get(every) for each in seeds]) for every in (name, name + SPREAD)
        )
        metric, place = place_of(name)
        told = over_seeds._asdict()
        if over_images:
            told['over_images'] = over_images.mean
        found.setdefault(metric, {})[place or 'whole'] = told
    return found


def differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of pairs of rows, in the last epoch on validation images."""
    known = {row['row']: row['validation']['last'] for row in rows}
    found = []
    for name, *pair in PAIRS:
        if known.keys() >= set(pair):
            ours, theirs = (known[each] for each in pair)
            told = {'name': name, 'minuend': pair[0], 'subtrahend': pair[1]}
            found.append(told | {'differences': _compared(ours, theirs)})
    return found


def _compared(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The differences where both rows have two seeds at least."""
    found = {}
    for metric in ours:
        for place, a in ours[metric].items():
            b = theirs.get(metric, {}).get(place)
            if b and min(a['seeds'], b['seeds']) > 1:
                spreads = (Spread(*(each[name] for name in Spread._fields)) for each in (a, b))
                found.setdefault(metric, {})[place] = welch(*spreads)._asdict()
    return found
