"""What diagnostics found in training: from the records of runs to numbers by name and epoch.

A name such as 'update_angle/kernel/layer_2' is a metric, 'update_angle/kernel', at a place:
'layer_l', 'total', or '' where there is one number of the whole net. With '/spread' behind it, it
is the standard deviation over the images.
"""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from bioprop.records.writers import Record
from experiments.analysis.results import Run
from experiments.analysis.rows import Method, grouped, winners
from experiments.analysis.series import Curve, Line, Scores, mean_curve

Numbers = dict[str, float]  # by name
PARTS = ('train', 'validation')  # of the data
LABELS = ('kind', 'part', 'step', 'epoch', 'seconds')  # of a record, beside its numbers
SPREAD = '/spread'
LAYER = 'layer_'


class Row(NamedTuple):
    """The seeds of a method, and what was measured in each: scores by name."""

    method: Method
    measured: list[dict[str, Scores]]
    seeds: int
    diverged: int


def place_of(name: str) -> tuple[str, str]:
    """The metric and the place of a name that is no spread."""
    metric, _, place = name.rpartition('/')
    return (metric, place) if place == 'total' or place.startswith(LAYER) else (name, '')


def name_of(metric: str, place: str) -> str:
    """The name that `place_of` takes apart."""
    return f'{metric}/{place}' if place else metric


def layers_of(names: Iterable[str], metric: str) -> list[int]:
    """The numbers of the layers that a metric has among the names, in order."""
    places = [place for found, place in map(place_of, names) if found == metric]
    return sorted(int(place.removeprefix(LAYER)) for place in places if place.startswith(LAYER))


def diagnostics(records: Iterable[Record], part: str) -> list[Record]:
    """Those of what was measured on 'train' or 'validation' images."""
    return [each for each in records if each['kind'] == 'diagnostics' and each['part'] == part]


def numbers(record: Record) -> Numbers:
    """What was measured, as far as it is finite."""
    return {
        name: value
        for name, value in record.items()
        if name not in LABELS and value is not None and math.isfinite(value)
    }


def by_epoch(records: list[Record]) -> dict[str, Scores]:
    """The mean of each number over the records of an epoch."""
    found = {}
    for epoch, each in grouped(records, lambda record: record['epoch']).items():
        for name, value in means(each).items():
            found.setdefault(name, {})[epoch] = value
    return found


def means(records: Iterable[Record]) -> Numbers:
    """The mean of each number over the records that have it."""
    values = {}
    for record in records:
        for name, value in numbers(record).items():
            values.setdefault(name, []).append(value)
    return {name: statistics.fmean(each) for name, each in values.items()}


def over_steps(records: list[Record], scale: float = 1.0) -> dict[str, Curve]:
    """Each number over the steps of the records, times scale."""
    found = {}
    for record in records:
        for name, value in numbers(record).items():
            curve = found.setdefault(name, Curve([], [], []))
            for column, each in zip(curve, (scale * record['step'], value, 0.0), strict=True):
                column.append(each)
    return found


def rows_of(
    methods: dict[Method, list[Run]], part: str = 'validation', searched: bool = False
) -> list[Row]:
    """Each method's winner, as far as it was measured."""
    rows = []
    for method, runs in winners(methods, searched).items():
        measured = [by_epoch(diagnostics(run.records(), part)) for run in runs]
        measured = [each for each in measured if each]
        if measured:
            rows.append(Row(method, measured, len(runs), sum(run.diverged for run in runs)))
    return rows


def over_epochs(rows: list[Row], name: str) -> list[Line]:
    """A line for each row that has the number."""
    lines = []
    for row in rows:
        scores = [each[name] for each in row.measured if name in each]
        if scores:
            lines.append(Line(row.method, mean_curve(scores), row.seeds, row.diverged))
    return lines


def over_layers(rows: list[Row], metric: str) -> list[Line]:
    """A line for each row that has the metric, over its layers: the last epoch of each."""
    lines = []
    for row in rows:
        layers = layers_of(dict.fromkeys(name for each in row.measured for name in each), metric)
        scores = [last(row, f'{metric}/{LAYER}{l}') for l in layers]
        if scores:
            curve = Curve(layers, [x.mean[0] for x in scores], [x.deviation[0] for x in scores])
            lines.append(Line(row.method, curve, row.seeds, row.diverged))
    return lines


def last(row: Row, name: str) -> Curve:
    """The last epoch of a number, over the seeds that came so far."""
    scores = [each[name] for each in row.measured if name in each]
    end = max(epoch for each in scores for epoch in each)
    return mean_curve([{end: each[end]} for each in scores if end in each])
