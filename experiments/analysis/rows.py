"""The runs of a study in the rows of the paper's tables, and in each row the winner of its search.

Functions of data frames of runs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bioprop.records import runs as read_runs
from bioprop.records.frames import config_of
from bioprop.studies.search import search_of
from bioprop.studies.study import Config, purpose_of, run_name
from bioprop.training.schedules import SCHEDULES
from experiments.analysis import catalogue

# The summary's scores, by what they are called here whatever the measure is.
SCORES = {
    'train': 'train_{}',
    'validation': 'validation_{}',
    'test': 'test_{}_at_best_validation',
    'best_test': 'best_test_{}',  # the lowest over the epochs, the paper's protocol
}
WORDS = {
    'mnist': 'MNIST', 'cifar10': 'CIFAR-10', 'fashion_mnist': 'Fashion-MNIST',
    'fc': 'fully connected', 'lc': 'locally connected', 'alternating_step': 'alternating by step',
}  # fmt: skip


class Panel(NamedTuple):
    """What is compared in one table: the same images, kind of net and loss."""

    dataset: str
    net: str
    loss: str

    @property
    def measure(self) -> str:
        """'error' in percent, or 'loss' where images are reconstructed."""
        return 'loss' if self.loss == 'squared_error' else 'error'

    @property
    def title(self) -> str:
        """In words."""
        words = [WORDS.get(self.dataset, self.dataset), WORDS.get(self.net, self.net)]
        return ', '.join([*words, 'autoencoder'] if self.measure == 'loss' else words)


class Method(NamedTuple):
    """A row of a table: what is trained in it, but for hyperparameters and seeds."""

    rule: str
    schedule: str
    net: str
    units: int | None = None  # the auxiliary ones
    inverses: bool = False  # whether it trains feedback, so that there is a choice of schedule

    @property
    def label(self) -> str:
        """In words, as the paper names it; the schedule only where there is a choice."""
        name = catalogue.label(self.rule) + (' ConvNet' if self.net == 'conv' else '')
        choice = self.inverses or self.schedule != 'parallel'
        return f'{name}, {WORDS.get(self.schedule, self.schedule)}' if choice else name

    @property
    def place(self) -> tuple:
        """By which rows are sorted."""
        schedule = [*SCHEDULES, self.schedule].index(self.schedule)
        rule = catalogue.place(self.rule), self.rule
        return *rule, self.net == 'conv', schedule, self.units or 0


def panel_of(config: Config) -> Panel:
    """Its panel; convolutional nets stand beside the locally connected ones, as in the paper."""
    net = 'lc' if config['net'] == 'conv' else config['net']
    return Panel(config['dataset'], net, config['loss'])


def method_of(config: Config) -> Method:
    """Its row."""
    names = ('rule', 'schedule', 'net', 'auxiliary_units')
    return Method(*map(config.get, names), inverses=config.get('inverse_lr') is not None)


def load(study: Path) -> pd.DataFrame:
    """The runs of a study in their rows. Raises UserError if the folder is none, or is damaged."""
    return placed(read_runs(study), bool(search_of(purpose_of(study))))


def read(workdir: Path) -> pd.DataFrame:
    """The run of a workdir in its row. Raises UserError if it holds none."""
    config_of(workdir)
    return placed(read_runs(workdir))


def placed(runs: pd.DataFrame, searched: bool = False) -> pd.DataFrame:
    """The runs in the order of tables and seeds, with what tables need of them.

    Columns are `panel`, `method`, `row` (a number for each row of each panel, in order), `group`
    (the same for runs that differ in their seeds alone), `role` ('winner', 'trial' of the search,
    or neither), `seconds`, and SCORES, which are missing where they are not finite.
    """
    if runs.empty:
        return runs
    configs = list(runs.config)
    rows = list(zip(map(panel_of, configs), map(method_of, configs), strict=True))
    order = {row: number for number, row in enumerate(sorted(set(rows), key=_place))}
    runs = runs.assign(
        panel=[panel for panel, _ in rows],
        method=[method for _, method in rows],
        row=[order[row] for row in rows],
        group=[run_name(config | {'seed': 0}) for config in configs],
        seconds=runs.get('seconds', np.nan),
        **{name: _scores(runs, pattern) for name, pattern in SCORES.items()},
    ).sort_values(['row', 'seed'], kind='stable', ignore_index=True)
    roles = {}
    for _, members in runs.groupby('row'):
        roles |= _roles(members, searched)
    return runs.assign(role=runs['name'].map(roles))


def _place(row: tuple[Panel, Method]) -> tuple:
    panel, method = row
    return panel, method.place


def _scores(runs: pd.DataFrame, pattern: str) -> pd.Series:
    columns = [pattern.format(measure) for measure in ('error', 'loss')]
    either = runs.reindex(columns=columns).astype(float).bfill(axis=1).iloc[:, 0]
    return either.where(np.isfinite(either))


def _roles(runs: pd.DataFrame, searched: bool) -> dict[str, str]:
    """Tells the winner of a row from the trials of its search, by the names of the runs.

    Runs that differ in their seeds alone are a group; the winner is the group of the most epochs,
    then of the most seeds, then of the lowest validation score. The trials of a search have one
    seed, the first, and do not count for the winner, which has seeds of its own. Where `searched`
    does not say that there was a search, it shows in that no other group has a second seed.
    """
    later, best = runs.seed != runs.seed.min(), runs.group == best_group(runs)
    if not searched and (not later.any() or best.all() or (later & ~best).any()):
        return dict.fromkeys(runs[best]['name'], 'winner')
    trials = dict.fromkeys(runs[~later]['name'], 'trial')
    best = runs.group == best_group(runs[later])
    return trials | dict.fromkeys(runs[later & best]['name'], 'winner')


def best_group(runs: pd.DataFrame) -> str | None:
    """The winner among runs; None if there are none."""
    merit = runs.groupby('group', sort=False).agg(
        epochs=('epochs', 'max'), seeds=('name', 'size'), score=('validation', 'mean')
    )
    merit = merit.sort_values(list(merit), ascending=[False, False, True], kind='stable')
    return next(iter(merit.index), None)


def winners(runs: pd.DataFrame) -> pd.DataFrame:
    """The winners; of several auxiliary widths the one that is best."""
    won = runs[runs.role == 'winner']
    alike = won.groupby(['panel', 'rule', 'schedule', 'net'], sort=False)
    return won[won.group.isin([best_group(members) for _, members in alike])]


def longest(trials: pd.DataFrame) -> pd.DataFrame:
    """Of each set of hyperparameters the finished trial of the most epochs: a search has rungs."""
    ended = trials[trials.finished]
    tried = [run_name(config | {'epochs': 0}) for config in ended.config]
    ended = ended.assign(tried=tried).sort_values('epochs', kind='stable')
    return ended.drop_duplicates('tried', keep='last')


def panels(runs: pd.DataFrame, *measures: str) -> Iterator[tuple[Panel, pd.DataFrame]]:
    """Each panel with its runs; of these measures, where some are named."""
    for panel, members in runs.groupby('panel', sort=False):
        if not measures or panel.measure in measures:
            yield panel, members
