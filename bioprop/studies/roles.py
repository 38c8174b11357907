"""What part the runs of a study play: the trials of a search, and the seeds of its winner.

Functions of the frame that `bioprop.records.runs` gives.
"""

from typing import TYPE_CHECKING

import numpy as np

from bioprop.studies.study import run_name

if TYPE_CHECKING:
    import pandas as pd

# What is compared: the runs of a row differ in hyperparameters, epochs and seeds.
ROW = ('dataset', 'loss', 'net', 'rule', 'schedule', 'auxiliary_units')


def roles(runs: 'pd.DataFrame', searched: bool = False) -> 'pd.Series':
    """'winner', 'trial' of the search, or missing, for each run.

    In each row runs that differ in their seeds alone are a group; the winner is the group of the
    most epochs, then of the most seeds, then of the lowest validation score. The trials of a search
    have one seed, the first, and do not count for the winner, which has seeds of its own. Where
    `searched` does not say that there was a search, it shows in that no other group has a second
    seed.
    """
    found = {}
    for _, members in runs.groupby([name for name in ROW if name in runs], dropna=False):
        found |= _of_row(members, searched)
    return runs['name'].map(found)


def _of_row(runs: 'pd.DataFrame', searched: bool) -> dict[str, str]:
    """By the names of the runs."""
    later, best = runs.seed != runs.seed.min(), _in_best(runs)
    if not searched and (not later.any() or best.all() or (later & ~best).any()):
        return dict.fromkeys(runs[best]['name'], 'winner')
    trials, later = runs[~later], runs[later]
    won = later[_in_best(later)] if len(later) else later
    return dict.fromkeys(trials['name'], 'trial') | dict.fromkeys(won['name'], 'winner')


def _in_best(runs: 'pd.DataFrame') -> 'pd.Series':
    return groups(runs) == best_group(runs)


def groups(runs: 'pd.DataFrame', *others: str) -> 'pd.Series':
    """A name for each run, the same for those that differ in the seed, and in others, alone."""
    alike = dict.fromkeys(('seed', *others), 0)
    return runs.config.map(lambda config: run_name(config | alike))


def best_group(runs: 'pd.DataFrame') -> str:
    """The name of the winner's group among runs."""
    told = runs.assign(group=groups(runs), score=score(runs, 'validation_{}'))
    merit = told.groupby('group', sort=False).agg(
        epochs=('epochs', 'max'), seeds=('name', 'size'), score=('score', 'mean')
    )
    return merit.sort_values(list(merit), ascending=[False, False, True], kind='stable').index[0]


def score(runs: 'pd.DataFrame', pattern: str) -> 'pd.Series':
    """A score by which runs are judged, of errors or losses; missing where it is not finite."""
    columns = [pattern.format(measure) for measure in ('error', 'loss')]
    either = runs.reindex(columns=columns).astype(float).bfill(axis=1).iloc[:, 0]
    return either.where(np.isfinite(either))


def longest(trials: 'pd.DataFrame') -> 'pd.DataFrame':
    """Of each set of hyperparameters the finished trial of the most epochs: a search has rungs."""
    ended = trials[trials.finished].sort_values('epochs', kind='stable')
    return ended[~groups(ended, 'epochs').duplicated(keep='last')]
