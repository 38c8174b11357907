"""The runs of a study in the rows of the paper's tables, and in each row the winner of its search.

Pure functions of the runs.
"""

import math
import statistics
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from bioprop.studies.study import run_name
from experiments.analysis.results import Run

RULES = ('bp', 'fa', 'dfa', 'dtp', 'sdtp', 'ao_sdtp')  # in the order of tables and figures
SCHEDULES = ('parallel', 'alternating', 'alternating_step')


class Panel(NamedTuple):
    """What is compared in one table: the same images, kind of net and loss."""

    dataset: str
    net: str
    loss: str

    @property
    def measure(self) -> str:
        """'error' in percent, or 'loss' where images are reconstructed."""
        return 'loss' if self.loss == 'reconstruction' else 'error'


class Method(NamedTuple):
    """A row of a table: what is trained in it, but for hyperparameters and seeds."""

    rule: str
    schedule: str
    net: str
    units: int | None = None  # the auxiliary ones of AO-SDTP


class Split(NamedTuple):
    """The runs of a row."""

    winner: list[Run]  # the seeds of one set of hyperparameters; [] before it is found
    trials: list[Run]  # of the search; [] if there was none


def panel_of(run: Run) -> Panel:
    """Its panel; convolutional nets stand beside the locally connected ones, as in the paper."""
    net = run.config['net']
    return Panel(run.config['dataset'], 'lc' if net == 'conv' else net, run.config['loss'])


def method_of(run: Run) -> Method:
    """Its row."""
    names = ('rule', 'schedule', 'net', 'auxiliary_units')
    return Method(*(run.config.get(name) for name in names))


def table(runs: Iterable[Run]) -> dict[Panel, dict[Method, list[Run]]]:
    """The runs by panel and row, in the order of the paper's tables."""
    panels = {}
    for panel, members in sorted(grouped(runs, panel_of).items()):
        rows = grouped(members, method_of)
        panels[panel] = {method: rows[method] for method in sorted(rows, key=_place)}
    return panels


def _place(method: Method) -> tuple:
    def place(names, name):
        return names.index(name) if name in names else len(names)

    schedule = place(SCHEDULES, method.schedule)
    rule = place(RULES, method.rule)
    return rule, method.rule, method.net == 'conv', schedule, method.units or 0


def grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> dict[Any, list[Any]]:
    """The items by their keys, both in the order in which they come."""
    groups = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def split(runs: list[Run], searched: bool = False) -> Split:
    """Tells the winner of a row from the trials of its search.

    Runs that differ in their seeds alone are a group; the winner is the group of the most epochs,
    then of the most seeds, then of the lowest validation score. The trials of a search have one
    seed, the first, and do not count for the winner, which has seeds of its own. Where `searched`
    does not say that there was a search, it shows in that no other group has a second seed.
    """
    if not runs:
        return Split([], [])
    first = min(run.config['seed'] for run in runs)
    trials = [run for run in runs if run.config['seed'] == first]
    later = [run for run in runs if run.config['seed'] != first]
    if not searched:
        best = _best(runs)
        again = {run.name for run in later}  # trained with a second seed
        if not again or len(best) == len(runs) or again - {run.name for run in best}:
            return Split(best, [])
    return Split(_best(later), trials)


def _best(runs: list[Run]) -> list[Run]:
    groups = grouped(runs, lambda run: run_name(run.config | {'seed': 0})).values()
    best = max(groups, key=_merit, default=[])
    return sorted(best, key=lambda run: run.config['seed'])


def _merit(runs: list[Run]) -> tuple[int, int, float]:
    return runs[0].config['epochs'], len(runs), -_validation(runs)


def _validation(runs: list[Run]) -> float:
    """The mean of the scores by which everything is chosen; infinity before the first."""
    summaries = [run.summary for run in runs if run.summary]
    scores = [each.get('validation_error', each.get('validation_loss')) for each in summaries]
    scores = [score for score in scores if score is not None and math.isfinite(score)]
    return statistics.mean(scores) if scores else math.inf


def winners(methods: dict[Method, list[Run]], searched: bool = False) -> dict[Method, list[Run]]:
    """The winner of each row that has one; of several widths of AO-SDTP that of the best."""
    found = {method: split(runs, searched).winner for method, runs in methods.items()}
    found = {method: runs for method, runs in found.items() if runs}
    widths = grouped(found, lambda method: method[:3]).values()
    best = [max(alike, key=lambda method: _merit(found[method])) for alike in widths]
    return {method: found[method] for method in best}


def longest(trials: list[Run]) -> list[Run]:
    """Of each set of hyperparameters the finished trial of the most epochs: a search has rungs."""
    finished = [run for run in trials if run.summary]
    alike = grouped(finished, lambda run: run_name(run.config | {'epochs': 0})).values()
    return [max(group, key=lambda run: run.config['epochs']) for group in alike]
