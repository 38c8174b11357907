"""The rows of the leaderboard: functions of the runs of its study.

A row has its `rule`, `label` and `family`, the spreads over the winner's seeds of its errors, of
the epochs after which it was at GOOD, and of the angle of its update to backpropagation's; of the
search, the share of trials `near` the best one of its first rung, all at the same epochs, and the
share that `diverged`; what its step takes, in those of backpropagation; and as a `curve` the
validation error by epoch.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bioprop.records.spreads import spread, spreads
from bioprop.rules.catalogue import BARTUNOV, CATALOGUE, Entry, Published
from bioprop.settings import published, resolve
from bioprop.studies.roles import longest
from experiments.analysis.measured import last
from experiments.analysis.rows import SCORES
from experiments.analysis.series import evaluation_scores, records
from experiments.analysis.text import shown, tabulated

GOOD = 3.0  # percent of validation images wrong
NEAR = 1.0  # point of the best trial
ANGLE = {'update_angle': ('update_angle', 'total')}
MOST = 10.0  # steps of backpropagation that a rule's may take to be trained in full

Row = dict[str, Any]


def share_of(work: float) -> float:
    """Of the epochs, for a rule whose step takes the work of so many of backpropagation's."""
    return min(1.0, MOST / work)


def rows(runs: pd.DataFrame, work: dict[str, float]) -> list[Row]:
    """Those of the runs, the lowest test error first; work is that of a rule's step."""
    found = [_row(rule, members, work[rule]) for rule, members in runs.groupby('rule', sort=False)]
    return sorted(found, key=lambda row: row['test']['mean'] if row['test'] else 100.0)


def _row(rule: str, runs: pd.DataFrame, work: float) -> Row:
    entry = CATALOGUE[rule]
    won, trials = runs[runs.role == 'winner'], runs[runs.role == 'trial']
    tried = longest(trials)
    first = trials[trials.finished & (trials.epochs == trials.epochs.min())]
    lasting = first.validation.where(~first.diverged.astype(bool))
    told = records(won)
    settings = None if won.empty else won.config.iloc[0]
    return {
        'rule': rule,
        'label': entry.label,
        'family': entry.family,
        **{name: spread(won[name]) for name in SCORES},
        'epochs': settings and settings['epochs'],
        'epochs_to_good': spread(_first_good(told)),
        'update_angle': spread(last(told, ANGLE).update_angle),
        'diverged_seeds': int(won.diverged.sum()),
        'near': _share(lasting <= lasting.min() + NEAR),
        'diverged': _share(tried.diverged),
        'trials': len(tried),
        'work': work,
        'transport': entry.claims.get('transport'),
        'published': _published(entry, runs.config.iloc[0]),
        'winner': settings and resolve.hparams(settings),
        'curve': _curve(told),
    }


def _published(entry: Entry, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbers of Bartunov et al. on these very images and layers, then those of the sources."""
    test = (published.figures(config) or {}).get('test')
    paper = [] if test is None else [Published('the same images and net', test, BARTUNOV)]
    return [each._asdict() for each in (*paper, *entry.published)]


def _share(which: pd.Series) -> float | None:
    return float(which.mean()) if len(which) else None


def _curve(told: pd.DataFrame) -> dict[str, list[float]]:
    """By 'epoch' the 'mean' and 'deviation' of the validation error, over seeds that have it."""
    scores = evaluation_scores(told, 'validation_error')
    found = spreads(scores.value, scores.x).round(3).rename_axis('epoch').sort_index().reset_index()
    return found[['epoch', 'mean', 'deviation']].to_dict('list')


def _first_good(told: pd.DataFrame) -> pd.Series:
    """By run, the first epoch at GOOD; missing of a run that never was."""
    scores = evaluation_scores(told, 'validation_error')
    return scores[scores.value <= GOOD].groupby('name').x.min()


def text(rows: Iterable[Row], style: str = 'simple') -> str:
    """The rows as a table."""
    headers = [
        'rule', 'family', 'test error (%)', 'best test (%)', 'epochs', f'epochs to {GOOD:g} %',
        'angle to BP (°)', 'work (BP)', 'near best', 'diverged', 'published (%)',
    ]  # fmt: skip
    return tabulated(map(_cells, rows), headers, style, left=2)


def _cells(row: Row) -> list[str]:
    told = ', '.join(f'{each["error"]:g}' for each in row['published'])
    shares = ('-' if row[name] is None else f'{row[name]:.0%}' for name in ('near', 'diverged'))
    return [
        row['label'], row['family'], shown(row['test']), shown(row['best_test']),
        str(row['epochs'] or '-'), shown(row['epochs_to_good'], 1), shown(row['update_angle'], 0),
        f'{row["work"]:.2f}', *shares, told or '-',
    ]  # fmt: skip
