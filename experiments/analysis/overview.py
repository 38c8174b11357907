"""The rows of a report in numbers: pure functions of the runs of a study."""

from typing import Any, NamedTuple

from bioprop.settings import published
from bioprop.studies.study import Config
from experiments.analysis.results import Run
from experiments.analysis.rows import Method, Panel, longest, split
from experiments.analysis.tables import Spread, spread


class Entry(NamedTuple):
    """A row of a report: errors in percent or losses per pixel, over the seeds of the winner.

    None stands where there is nothing yet, or nothing published.
    """

    method: Method
    train: Spread | None  # this and validation at the best validation epoch
    validation: Spread | None
    test: Spread | None  # at the best validation epoch
    best_test: Spread | None  # the lowest over the epochs, the paper's protocol
    published: dict[str, float] | None  # 'train' and 'test'
    epochs: int | None  # of the winner
    seeds: int  # that have ended
    planned: int  # seeds, as far as they were started
    diverged_seeds: int
    trials: int  # hyperparameters tried in the search
    diverged_trials: int
    in_training: int  # runs
    hours: float  # of computing, search included
    winner: Config | None


def entry(panel: Panel, method: Method, runs: list[Run], searched: bool = False) -> Entry:
    """What is known of a row by now."""
    winner, trials = split(runs, searched)
    finished = [run.summary for run in winner if run.summary]
    tried = longest(trials)
    config = winner[0].config if winner else None

    def over_seeds(name):
        return spread([summary.get(name.format(panel.measure)) for summary in finished])

    return Entry(
        method=method,
        train=over_seeds('train_{}'),
        validation=over_seeds('validation_{}'),
        test=over_seeds('test_{}_at_best_validation'),
        best_test=over_seeds('best_test_{}'),
        published=figures_of(panel, method, config),
        epochs=config['epochs'] if config else None,
        seeds=len(finished),
        planned=len(winner),
        diverged_seeds=sum(run.diverged for run in winner),
        trials=len(tried),
        diverged_trials=sum(run.diverged for run in tried),
        in_training=sum(run.summary is None for run in runs),
        hours=sum(run.summary['seconds'] for run in runs if run.summary) / 3600,
        winner=config,
    )


def figures_of(panel: Panel, method: Method, config: Config | None) -> dict[str, float] | None:
    """The paper's figures for a row; None where it has none, or a net of other layers is trained.

    It alternates by epoch. Its auxiliary units are known for CIFAR-10; elsewhere ours count.
    """
    found = published.tables()['table1'].get(panel.dataset, {}).get(panel.net, {})
    figures = found.get(published.row_name(method.net, method.rule, method.schedule))
    if figures is None or panel.measure == 'loss' or method.schedule == 'alternating_step':
        return None
    layers = published.hidden_layers(panel.dataset, method.net)
    other_layers = config and _listed(config['hidden']) != _listed(layers)
    if other_layers or method.units not in (
        None,
        published.options(panel.dataset, 'ao_sdtp').get('auxiliary_units', 256),
    ):
        return None
    return figures


def _listed(layers: Any) -> Any:
    return list(map(_listed, layers)) if isinstance(layers, list | tuple) else layers
