"""The rows of the paper's tables as searches, and what came of them."""

import statistics
from typing import Any, NamedTuple

from bioprop import reference
from bioprop.config import paper
from bioprop.resolve import resolve
from bioprop.search import Search
from bioprop.study import Config, Result

RULES = {
    'bp': ('parallel',),
    'fa': ('parallel',),
    'dfa': ('parallel',),
    'dtp': ('parallel', 'alternating'),
    'sdtp': ('parallel', 'alternating'),
    'ao_sdtp': ('parallel', 'alternating'),
}


def row_configs(dataset: str, net: str, **settings: Any) -> dict[str, Config]:
    """The rows of a data set and kind of net, by their names in the paper; settings hold for all.

    Local nets have the convolutional one, trained by backpropagation, as one more row.
    """
    kinds = [(net, rule, schedule) for rule, turns in RULES.items() for schedule in turns]
    if net == 'lc':
        kinds.append(('conv', 'bp', 'parallel'))
    return {
        reference.row_name(net, rule, schedule): resolve(
            paper(dataset, rule, net=net, schedule=schedule, hyperparameters='tuned', **settings)
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
    trials: int  # finished, of the search
    diverged: int  # of them, and of the winner's seeds
    hours: float  # of computing, search included
    winner: Config | None


def row(name: str, search: Search, published: dict[str, float] | None, result: Result) -> Row:
    """What is known of a row by now."""
    published = published or {}
    *rungs, last = search.stages(result)
    decided = len(rungs) == len(search.rungs)
    winners = last if decided else []
    trials = {id(c): result(c) for stage in (rungs if decided else [*rungs, last]) for c in stage}
    finished = [summary for summary in map(result, winners) if summary]
    ended = [summary for summary in trials.values() if summary] + finished

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
        len(ended) - len(finished),
        sum(summary['diverged'] for summary in ended),
        sum(summary['seconds'] for summary in ended) / 3600,
        winners[0] if winners else None,
    )
