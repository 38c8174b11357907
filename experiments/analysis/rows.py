"""The runs of a study in the rows of tables: functions of the frame of its runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bioprop.records import runs as read_runs
from bioprop.records.frames import config_of
from bioprop.rules import catalogue
from bioprop.studies.roles import best_group, groups, roles, score
from bioprop.studies.search import search_of
from bioprop.studies.study import Config, purpose_of
from bioprop.training.schedules import SCHEDULES

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
        return 'loss' if self.loss == 'reconstruction' else 'error'

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
    weak: bool = False  # whether it relaxes with weaker feedback than its sources have

    @property
    def label(self) -> str:
        """In words, as the paper names it; the schedule only where there is a choice."""
        name = catalogue.label(self.rule) + (' ConvNet' if self.net == 'conv' else '')
        name += ', weak feedback' if self.weak else ''
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
    inverses = config.get('feedback_lr') is not None
    return Method(
        *map(config.get, names), inverses=inverses, weak=weak_feedback(config['rule'], config)
    )


def weak_feedback(rule: str, settings: Config) -> bool:
    """Whether it relaxes with less from above than from below, as in no source."""
    known, gamma = catalogue.CATALOGUE.get(rule), settings.get('gamma')
    relaxes = known is not None and known.family == 'energy'  # gamma is another thing elsewhere
    return relaxes and gamma is not None and bool(np.min(gamma) < 1)


def load(study: Path) -> pd.DataFrame:
    """The runs of a study in their rows. Raises UserError if the folder is none, or is damaged."""
    return placed(read_runs(study), bool(search_of(purpose_of(study))))


def read(workdir: Path) -> pd.DataFrame:
    """The run of a workdir in its row. Raises UserError if it holds none."""
    config_of(workdir)
    return placed(read_runs(workdir))


def placed(runs: pd.DataFrame, searched: bool = False) -> pd.DataFrame:
    """The runs in the order of tables and seeds, with what tables need of them.

    Columns are `panel`, `method`, `row` (a number for each row of each panel, in order), `role`
    ('winner', 'trial' of the search, or neither), `seconds`, and SCORES.
    """
    if runs.empty:
        return runs
    rows = [(panel_of(config), method_of(config)) for config in runs.config]
    order = sorted(set(rows), key=lambda row: (row[0], row[1].place))
    return runs.assign(
        panel=[panel for panel, _ in rows],
        method=[method for _, method in rows],
        row=list(map(order.index, rows)),
        role=roles(runs, searched),
        seconds=runs.get('seconds', np.nan),
        **{name: score(runs, pattern) for name, pattern in SCORES.items()},
    ).sort_values(['row', 'seed'], kind='stable', ignore_index=True)


def winners(runs: pd.DataFrame) -> pd.DataFrame:
    """The winners; of several auxiliary widths the one that is best."""
    won = runs[runs.role == 'winner']
    alike = won.groupby(['panel', 'rule', 'schedule', 'net'], sort=False)
    return won[groups(won).isin([best_group(members) for _, members in alike])]


def panels(runs: pd.DataFrame, *measures: str) -> Iterator[tuple[Panel, pd.DataFrame]]:
    """Each panel with its runs; of these measures, where some are named."""
    for panel, members in runs.groupby('panel', sort=False):
        if not measures or panel.measure in measures:
            yield panel, members
