"""What is known of each row by now: functions of the runs of a study."""

from typing import Any

import pandas as pd

from bioprop.records.spreads import spread
from bioprop.settings import published
from bioprop.studies.roles import longest
from experiments.analysis.rows import SCORES

Entry = dict[str, Any]


def overview(runs: pd.DataFrame) -> list[Entry]:
    """An entry for each row, in order."""
    return [entry(members) for _, members in runs.groupby('row')]


def entry(runs: pd.DataFrame) -> Entry:
    """A row: its panel, method and scores over the seeds of its winner, and what it took.

    Scores are spreads, errors in percent or losses per pixel; None stands where there is nothing
    yet. `published` are the paper's. `seeds` have ended, of those `planned` as far as they were
    started; `winner` is the configuration of the first. `trials` are hyperparameters that the
    search tried. `runs` have ended, those of each rung included, in so many `hours` of computing.
    """
    won, tried = runs[runs.role == 'winner'], longest(runs[runs.role == 'trial'])
    winner = None if won.empty else won.config.iloc[0]
    return {
        'panel': runs.panel.iloc[0],
        'method': runs.method.iloc[0],
        **{name: spread(won[name]) for name in SCORES},
        'epochs': winner and winner['epochs'],
        'seeds': int(won.finished.sum()),
        'planned': len(won),
        'diverged_seeds': int(won.diverged.sum()),
        'trials': len(tried),
        'diverged_trials': int(tried.diverged.sum()),
        'runs': int(runs.finished.sum()),
        'diverged': int(runs.diverged.sum()),
        'hours': float(runs.seconds.sum()) / 3600,
        'winner': winner,
        'published': published.figures(winner or runs.config.iloc[0]),
    }
