"""The rows of the paper's tables as searches, what came of them, and how it is shown."""

import csv
import io
import math
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from tabulate import tabulate

from bioprop.records.writers import clock
from bioprop.settings import paper, published, resolve
from bioprop.studies.search import Search
from bioprop.studies.study import Config, Result

RULES = {
    'bp': ('parallel',),
    'fa': ('parallel',),
    'dfa': ('parallel',),
    'dtp': ('parallel', 'alternating'),
    'sdtp': ('parallel', 'alternating'),
    'ao_sdtp': ('parallel', 'alternating'),
}


def row_configs(dataset: str, net: str, settings: str = '') -> dict[str, Config]:
    """The rows of a data set and kind of net, by their names in the paper.

    settings is 'key=value,key=value' for all of them. Local nets have the convolutional one,
    trained by backpropagation, as one more row.
    """
    kinds = [(net, rule, schedule) for rule, turns in RULES.items() for schedule in turns]
    if net == 'lc':
        kinds.append(('conv', 'bp', 'parallel'))
    return {
        published.row_name(net, rule, schedule): resolve.resolve(
            paper(dataset, rule, settings, net=net, schedule=schedule, hyperparameters='tuned')
        )
        for net, rule, schedule in kinds
    }


class Spread(NamedTuple):
    """Mean and standard deviation over seeds."""

    mean: float
    deviation: float  # 0 for one seed
    seeds: int


def spread(values: list[float | None]) -> Spread | None:
    """Of those that are there; None if none is."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(statistics.mean(values), deviation, len(values))


class Difference(NamedTuple):
    """Of two independent means, and its standard error."""

    difference: float
    standard_error: float


def welch(a: Spread, b: Spread) -> Difference:
    """a - b, where the deviations of the two need not be the same."""
    error = math.sqrt(a.deviation**2 / a.seeds + b.deviation**2 / b.seeds)
    return Difference(a.mean - b.mean, error)


class Row(NamedTuple):
    """A row of a table: errors in percent over the seeds of a winner, beside the published ones.

    None stands where there is nothing yet, or nothing published.
    """

    name: str
    train: Spread | None
    validation: Spread | None
    test: Spread | None  # at the best validation epoch
    best_test: Spread | None  # the lowest over the epochs, the paper's protocol
    paper_train: float | None
    paper_test: float | None
    runs: int  # finished: those of the search, rung by rung, and the winner's seeds
    diverged: int  # of them
    hours: float  # of computing, search included
    winner: Config | None


def row(name: str, search: Search, published: dict[str, float] | None, result: Result) -> Row:
    """What is known of a row by now."""
    published = published or {}
    *rungs, last = search.stages(result)
    decided = len(rungs) == len(search.rungs)
    winners = last if decided else []
    trials = [
        result(config) for stage in (rungs if decided else [*rungs, last]) for config in stage
    ]
    finished = [summary for summary in map(result, winners) if summary]
    ended = [summary for summary in trials if summary] + finished

    def over_seeds(measure):
        return spread([summary[measure] for summary in finished])

    return Row(
        name,
        over_seeds('train_error'),
        over_seeds('validation_error'),
        over_seeds('test_error_at_best_validation'),
        over_seeds('best_test_error'),
        published.get('train'),
        published.get('test'),
        len(ended),
        sum(summary['diverged'] for summary in ended),
        sum(summary['seconds'] for summary in ended) / 3600,
        winners[0] if winners else None,
    )


def rows(
    searches: dict[str, Search], chosen: Iterable[str], published: dict, result: Result
) -> list[Row]:
    """The rows that were chosen, and others that have runs."""
    known = [row(name, search, published.get(name), result) for name, search in searches.items()]
    return [each for each in known if each.name in chosen or each.runs]


def shown(value: Spread | float | None, digits: int = 2) -> str:
    """With so many digits after the point, and the deviation where there is one."""
    match value:
        case None:
            return '-'
        case Spread(mean, deviation, seeds):
            alone = f'{mean:.{digits}f}'
            return f'{alone} ± {deviation:.{digits}f}' if seeds > 1 else alone
    return f'{value:.{digits}f}'


SPREADS = ('train', 'validation', 'test', 'best_test')
COLUMNS = {
    'row': lambda row: row.name,
    'train': lambda row: shown(row.train),
    'paper train': lambda row: shown(row.paper_train),
    'validation': lambda row: shown(row.validation),
    'test': lambda row: shown(row.test),
    'best test': lambda row: shown(row.best_test),
    'paper test': lambda row: shown(row.paper_test),
    'seeds': lambda row: row.test.seeds if row.test else 0,
    'runs': lambda row: row.runs,
    'diverged': lambda row: row.diverged,
    'time': lambda row: clock(3600 * row.hours),
}


def text(rows: Iterable[Row], style: str = 'simple') -> str:
    """The rows as a table in a style of tabulate: simple, github, html, ..."""
    cells = [[cell(row) for cell in COLUMNS.values()] for row in rows]
    align = ('left', *['right'] * (len(COLUMNS) - 1))
    return tabulate(cells, list(COLUMNS), tablefmt=style, disable_numparse=True, colalign=align)


# Differences of rows that the paper draws conclusions from: (name, minuend, subtrahend).
CONTRASTS = (
    ('dtp: alternating - parallel', 'dtp_alternating', 'dtp_parallel'),
    ('sdtp: alternating - parallel', 'sdtp_alternating', 'sdtp_parallel'),
    ('ao_sdtp: alternating - parallel', 'ao_sdtp_alternating', 'ao_sdtp_parallel'),
    ('parallel: sdtp - ao_sdtp', 'sdtp_parallel', 'ao_sdtp_parallel'),
    ('alternating: sdtp - ao_sdtp', 'sdtp_alternating', 'ao_sdtp_alternating'),
    ('fa - dfa', 'fa', 'dfa'),
    ('fa - bp', 'fa', 'bp'),
    ('dtp_alternating - bp', 'dtp_alternating', 'bp'),
    ('bp: locally connected - convolutional', 'bp', 'bp_conv'),
)


class Contrast(NamedTuple):
    """A difference of two rows' mean test errors at the best validation epoch, in points."""

    name: str
    difference: float
    standard_error: float
    published: float | None


def contrasts(rows: Iterable[Row]) -> list[Contrast]:
    """Of the rows that have two seeds at least."""
    known = {row.name: row for row in rows if row.test and row.test.seeds > 1}
    found = []
    for name, *pair in CONTRASTS:
        if not known.keys() >= set(pair):
            continue
        a, b = (known[row].test for row in pair)
        papers = [known[row].paper_test for row in pair]
        published = None if None in papers else papers[0] - papers[1]
        found.append(Contrast(name, *welch(a, b), published))
    return found


def contrasts_text(found: Iterable[Contrast], style: str = 'simple') -> str:
    """The differences as a table in a style of tabulate."""
    cells = [
        (name, f'{difference:+.2f} ± {error:.2f}', '-' if paper is None else f'{paper:+.2f}')
        for name, difference, error, paper in found
    ]
    headers = ('difference of test errors', 'points ± standard error', 'paper')
    align = ('left', 'right', 'right')
    return tabulate(cells, headers, tablefmt=style, disable_numparse=True, colalign=align)


def as_csv(rows: Iterable[Row]) -> str:
    """The numbers, a column each: means and deviations apart."""
    file = io.StringIO()
    names = [f'{name}{part}' for name in SPREADS for part in ('', '_deviation')]
    others = ('paper_train', 'paper_test', 'runs', 'diverged', 'hours')
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['row', *names, 'seeds', *others])
    for row in rows:
        values = [getattr(row, name) or Spread(None, None, 0) for name in SPREADS]
        numbers = [number for value in values for number in value[:2]]
        seeds = values[0].seeds
        writer.writerow([row.name, *numbers, seeds, *(getattr(row, name) for name in others)])
    return file.getvalue()


def as_records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The numbers and the winners' hyperparameters, for a JSON file."""
    records = []
    for row in rows:
        record = row._asdict() | {'winner': row.winner and resolve.hparams(row.winner)}
        records.append({
            key: value._asdict() if isinstance(value, Spread) else value
            for key, value in record.items()
        })  # fmt: skip
    return records


def from_records(records: Iterable[dict[str, Any]]) -> list[Row]:
    """The rows that `as_records` made the records of; winners are their hyperparameters."""
    return [
        Row(**{
            key: Spread(**value) if key in SPREADS and value else value
            for key, value in record.items()
        })
        for record in records
    ]  # fmt: skip


def page(rows: list[Row], style: str = 'simple') -> str:
    """The table, and the differences of its rows if there are any, in a style of tabulate."""
    differences = contrasts(rows)
    parts = [text(rows, style)]
    parts += [contrasts_text(differences, style)] if differences else []
    return '\n\n'.join(parts) + '\n'
