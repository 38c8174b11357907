"""Random search as a plan of a study: pure functions of the results so far.

The first configuration is the one that the search starts from; the others are drawn one by one
from a domain, so that the first n of a longer search are those of a shorter one. They are trained
in rungs, of which each keeps the best of the one before and trains it for longer; the winner of
the last rung is trained once more with seeds of its own. Everything is chosen on validation error;
the test set is never looked at.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bioprop.rules import Rule, entry
from bioprop.settings import published, resolve
from bioprop.settings.tied import STEPS
from bioprop.studies.study import Config, Plan, Result


class Uniform(NamedTuple):
    """Uniform in [low, high]."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        return float(random.uniform(self.low, self.high))


class LogUniform(NamedTuple):
    """Uniform in its logarithm, in [low, high]."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        return float(np.exp(random.uniform(np.log(self.low), np.log(self.high))))


class Choice(NamedTuple):
    """One of the values, all alike."""

    values: Sequence[float]

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        return float(random.choice(self.values))


Domain = dict[str, Uniform | LogUniform | Choice]

# Of optimisers: wide enough for every row of table 5, of which MNIST's lie outside table 4, and
# for the settings of ours: inverses of SDTP that hardly move.
RATES = {
    'lr': LogUniform(1e-5, 3e-3),
    'feedback_lr': LogUniform(1e-6, 1e-2),
    'beta1': Choice((0.9, 0.99)),
    'beta2': Choice((0.95, 0.99, 0.999)),
    'eps': Choice((1e-3, 1e-4, 1e-6, 1e-8)),
    'feedback_eps': Choice((1e-2, 1e-3, 1e-4, 1e-6, 1e-8)),
}


def wide(rule: Rule) -> Domain:
    """Ours: rates of any net, and the ranges of the rule's own hyperparameters."""
    ranged = [each for each in rule.hparams if each.high is not None]
    own = {each.name: (Uniform, LogUniform)[each.log](each.low, each.high) for each in ranged}
    return RATES | own


def table4(rule: Rule) -> Domain:
    """The paper's, for every rule."""
    found = published.tables()['table4_search_space']
    return {
        'lr': LogUniform(*found['lr']),
        'feedback_lr': LogUniform(*found['feedback_lr']),
        'beta1': Choice((found['beta1'],)),
        'beta2': Choice(found['beta2']),
        'eps': Choice(found['eps']),
        'alpha': Uniform(*found['alpha']),
        'sigma': Uniform(*found['sigma']),
    }


DOMAINS = {'wide': wide, 'table4': table4}


def draw(config: Config, domain: Domain, number: int, seed: int) -> Config:
    """Configuration `number` of a search: 0 is `config` itself, the others are drawn.

    Drawn are those of its hyperparameters that the domain has. The feedback's optimiser draws from
    the domain of the forward one where it has none of its own; that of a tied rule follows.
    """
    if number == 0:
        return config
    random = np.random.default_rng([seed, number])
    drawn = dict(config)
    for name in resolve.hparams(config):
        spread = domain.get(name) or domain.get(name.removeprefix('feedback_'))
        if spread:
            drawn[name] = spread.draw(random)
    if entry(config['rule']).tied:
        drawn |= {f'feedback_{name}': drawn[name] for name in STEPS}
    return drawn


class Rung(NamedTuple):
    """How many configurations go on, and the epochs that they have been trained for at its end."""

    configurations: int
    epochs: int


def halving(configurations: int, epochs: int, factor: int = 3) -> tuple[Rung, ...]:
    """Successive halving (Jamieson and Talwalkar 2016): the best 1/factor for factor times as long.

    The last rung has `epochs`, and the first at least one and `configurations`.
    """
    rungs = 1 + math.floor(math.log(min(configurations, epochs), factor) + 1e-9)
    return tuple(
        Rung(math.ceil(configurations / factor**place), epochs // factor ** (rungs - 1 - place))
        for place in range(rungs)
    )


def imagenet(configurations: int, epochs: int) -> tuple[Rung, ...]:
    """The paper's way with ImageNet: after 10 epochs only the best goes on."""
    return (Rung(configurations, min(10, epochs)), Rung(1, epochs))


def full(configurations: int, epochs: int) -> tuple[Rung, ...]:
    """The paper's way with MNIST and CIFAR-10: every configuration is trained to the end."""
    return (Rung(configurations, epochs),)


RUNGS = {'full': full, 'halving': halving, 'imagenet': imagenet}


def rank(summaries: Sequence[dict[str, Any]]) -> list[int]:
    """Places from the best to the worst on validation; those that diverged last, equals in order.

    The measure is the error, or the loss where there is no error; none, or one that is no number,
    counts as infinite.
    """

    def key(place):
        summary = summaries[place]
        score = summary.get('validation_error', summary.get('validation_loss'))
        known = score is not None and not math.isnan(score)
        return summary['diverged'], score if known else math.inf, place

    return sorted(range(len(summaries)), key=key)


class Search(NamedTuple):
    """A random search and what follows it."""

    config: Config  # resolved; what is not drawn stands as it is
    domain: Domain
    rungs: tuple[Rung, ...]
    seeds: int  # of the winner
    epochs: int  # of the winner
    seed: int = 0  # of the drawing

    def stages(self, result: Result) -> Iterator[list[Config]]:
        """The rungs, as far as they are known, then the winner's seeds.

        Without rungs the winner is the configuration that the search starts from.
        """
        numbers = range(self.rungs[0].configurations if self.rungs else 1)
        kept = [draw(self.config, self.domain, number, self.seed) for number in numbers]
        for rung in self.rungs:
            stage = [config | {'epochs': rung.epochs} for config in kept[: rung.configurations]]
            yield stage
            summaries = [result(config) for config in stage]
            if None in summaries:
                return
            kept = [stage[place] for place in rank(summaries)]
        # The search's own seed made it win: the score that counts is that of others.
        first = self.config['seed'] + 1
        yield [
            kept[0] | {'epochs': self.epochs, 'seed': seed}
            for seed in range(first, first + self.seeds)
        ]

    def plan(self, result: Result) -> list[Config]:
        """What may be trained now: the last stage that is known."""
        return list(self.stages(result))[-1]


def together(plans: Sequence[Plan]) -> Plan:
    """One plan out of many, each at its own stage."""
    return lambda result: [config for plan in plans for config in plan(result)]


def search_of(purpose: dict[str, Any]) -> dict[str, Any]:
    """The search that a study is for, or the first of its rows; {} where it tells none."""
    told = [purpose, *(row for row in purpose.values() if isinstance(row, dict))]
    return next((search for search in told if search.get('rungs')), {})
