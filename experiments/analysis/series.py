"""The numbers that figures show, from the records and summaries of runs."""

from collections.abc import Iterable
from typing import NamedTuple

from bioprop.records.writers import Record
from bioprop.running.report import evaluations
from experiments.analysis.results import Run
from experiments.analysis.rows import Method, grouped, longest, split, winners
from experiments.analysis.tables import spread

Scores = dict[int, float]  # by epoch, or by number of auxiliary units


class Curve(NamedTuple):
    """Mean and standard deviation over seeds, at each x."""

    x: list[int]
    mean: list[float]
    deviation: list[float]  # 0 for one seed


class Line(NamedTuple):
    """A curve of a method."""

    method: Method
    curve: Curve
    seeds: int
    diverged: int = 0  # of the seeds


class Trials(NamedTuple):
    """What came of the search of a method."""

    method: Method
    accuracies: list[float]  # in percent, of those that did not diverge
    diverged: int


def training_scores(records: Iterable[Record], name: str) -> Scores:
    """The running mean of each epoch, over its calls by the images that they were trained on.

    Passes that train the inverses alone have no forward score.
    """
    calls = grouped((record for record in records if name in record), lambda r: r['epoch'])
    return {epoch: _weighted(each, name) for epoch, each in calls.items()}


def _weighted(records: list[Record], name: str) -> float:
    images = [record['seconds'] * record['examples_per_second'] for record in records]
    total = sum(n * record[name] for n, record in zip(images, records, strict=True))
    return total / sum(images)


def evaluation_scores(records: list[Record], name: str) -> Scores:
    """The score of each epoch that has it."""
    return {each['epoch']: each[name] for each in evaluations(records) if name in each}


def mean_curve(seeds: list[Scores]) -> Curve:
    """Over the seeds that have a score there: one that diverged ends before the others."""
    x = sorted(set().union(*seeds))
    spreads = [spread([scores.get(place) for scores in seeds]) for place in x]
    return Curve(x, [each.mean for each in spreads], [each.deviation for each in spreads])


def curves(
    methods: dict[Method, list[Run]], parts: tuple[str, ...], measure: str, searched: bool = False
) -> dict[str, list[Line]]:
    """A line for each method's winner, by the part of the data: 'train', 'validation', 'test'."""
    lines = {part: [] for part in parts}
    for method, runs in winners(methods, searched).items():
        records = [run.records() for run in runs]
        diverged = sum(run.diverged for run in runs)
        for part in parts:
            scores = [_scores(each, part, measure) for each in records]
            scores = [each for each in scores if each]
            if scores:
                lines[part].append(Line(method, mean_curve(scores), len(runs), diverged))
    return lines


def _scores(records: list[Record], part: str, measure: str) -> Scores:
    if part == 'train':
        return training_scores((r for r in records if r['kind'] == 'train'), measure)
    return evaluation_scores(records, f'{part}_{measure}')


def search_trials(methods: dict[Method, list[Run]], searched: bool = False) -> list[Trials]:
    """The test accuracies, at the best validation epoch, of each method that was searched."""
    found = []
    for method, runs in methods.items():
        trials = longest(split(runs, searched).trials)
        alive = [run.summary for run in trials if not run.diverged]
        accuracies = [100 - summary['test_error_at_best_validation'] for summary in alive]
        if trials:
            found.append(Trials(method, accuracies, len(trials) - len(alive)))
    return found


def by_units(methods: dict[Method, list[Run]], searched: bool = False) -> list[Line]:
    """Test error at the best validation epoch by auxiliary units, a line for each net and schedule.

    SDTP stands at 0 units, unless AO-SDTP has been trained with none.
    """
    widths = {}
    for method, runs in methods.items():
        if method.rule not in ('sdtp', 'ao_sdtp'):
            continue
        line = Method('ao_sdtp', method.schedule, method.net)
        found = [run.summary for run in split(runs, searched).winner if run.summary]
        score = spread([summary['test_error_at_best_validation'] for summary in found])
        if score and (method.rule == 'ao_sdtp' or 0 not in widths.get(line, {})):
            widths.setdefault(line, {})[method.units or 0] = score
    return [
        Line(
            line,
            Curve(
                sorted(scores),
                [scores[units].mean for units in sorted(scores)],
                [scores[units].deviation for units in sorted(scores)],
            ),
            max(score.seeds for score in scores.values()),
        )
        for line, scores in widths.items()
        if any(scores)
    ]
