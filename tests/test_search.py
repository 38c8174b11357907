"""Random search by arithmetic: draws, rungs, ranks, and a plan that is led by faked results."""

import itertools
import math

import numpy as np
import pytest
from problems import PAPERS

from bioprop import rules
from bioprop.settings import paper, published
from bioprop.settings.resolve import hparams, resolve
from bioprop.studies import search
from bioprop.studies.search import (
    DOMAINS,
    Choice,
    LogUniform,
    Rung,
    Search,
    Uniform,
    draw,
    full,
    halving,
    imagenet,
    rank,
    table4,
    together,
    wide,
)
from bioprop.studies.study import run_name

WIDE = wide(rules.dtp())
CONFIG = resolve(paper('mnist', 'dtp', schedule='alternating', seed=5, epochs=30))


# ------------------------------------------------------------------ what is drawn


def inside(domain, name, value):
    """Whether the domain could give this value, by its definition."""
    spread = domain.get(name) or domain[name.removeprefix('feedback_')]
    if isinstance(spread, Choice):
        return value in spread.values
    return spread.low <= value <= spread.high


def drawn(number, domain=WIDE, seed=0):
    config = draw(CONFIG, domain, number, seed)
    return {name: config[name] for name in hparams(config)}


def test_the_first_is_the_configuration_itself():
    assert draw(CONFIG, WIDE, 0, 3) == CONFIG


def test_draws_differ_and_touch_hyperparameters_of_the_domain_alone():
    settings = [drawn(number) for number in range(50)]
    assert len({tuple(each.values()) for each in settings}) == 50
    config = draw(CONFIG, WIDE, 7, 0)
    changed = {name for name in config if config[name] != CONFIG[name]}
    assert {'lr', 'feedback_lr', 'alpha', 'sigma'} <= changed <= WIDE.keys() | {
        'feedback_beta1', 'feedback_beta2', 'feedback_eps'
    }  # fmt: skip
    assert resolve(paper('mnist', 'dtp', schedule='alternating', seed=5, epochs=30)) == CONFIG
    assert drawn(7) == drawn(7) != drawn(7, seed=1)
    assert all(type(value) is float for value in drawn(7).values())
    assert draw(CONFIG, {'sigma': Choice((0.5,))}, 7, 0) == CONFIG | {'sigma': 0.5}
    both = {'lr': 0.5, 'feedback_lr': 0.5}
    assert draw(CONFIG, {'lr': Choice((0.5,))}, 7, 0) == CONFIG | both


def test_an_inverse_draws_by_itself_from_the_forward_domain():
    pairs = {(each['beta2'], each['feedback_beta2']) for each in map(drawn, range(1, 300))}
    assert pairs == set(itertools.product(WIDE['beta2'].values, repeat=2))


def test_the_first_of_a_longer_search_are_those_of_a_shorter_one():
    short, long = (first_stage(Search(CONFIG, WIDE, full(number, 3), 1, 3)) for number in (4, 9))
    assert long[:4] == short
    assert len(long) == 9


def first_stage(searched):
    return next(searched.stages(lambda config: None))


@pytest.mark.parametrize('name', sorted(DOMAINS))
def test_draws_lie_within_the_domain(name):
    domain = DOMAINS[name](rules.dtp())
    for number in range(1, 1000):
        for key, value in drawn(number, domain).items():
            if key in ('lr', 'feedback_lr', 'alpha', 'sigma') or key.endswith(('1', '2', 'eps')):
                assert inside(domain, key, value), (key, value)


def kolmogorov(values, low, high):
    """The largest distance of the values' distribution from the uniform one, times sqrt(n)."""
    places = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(places) + 1) / len(places)
    distance = max(abs(places - steps[:-1]).max(), abs(places - steps[1:]).max())
    return distance * math.sqrt(len(places))


@pytest.mark.parametrize('name', ['lr', 'feedback_lr', 'alpha', 'sigma'])
def test_what_is_uniform_is_so_in_its_scale(name):
    """1.95 is passed by chance once in 1000 times; these draws are always the same."""
    spread, other = WIDE[name], {LogUniform: Uniform, Uniform: LogUniform}[type(WIDE[name])]
    scales = {LogUniform: np.log, Uniform: np.asarray}
    assert type(spread) is (LogUniform if name.endswith('lr') else Uniform)
    values = [drawn(number)[name] for number in range(1, 1000)]
    right, wrong = (
        kolmogorov(*(scales[kind](x) for x in (values, spread.low, spread.high)))
        for kind in (type(spread), other)
    )
    assert right < 1.95
    assert wrong > 5


def test_choices_are_all_alike():
    """The expected count of each is 333, its standard deviation 15."""
    values = [drawn(number)['beta2'] for number in range(1, 1000)]
    assert all(abs(values.count(value) - 333) < 60 for value in WIDE['beta2'].values)


ROWS = {
    f'{net} {row}': values
    for net, rows in published.tables()['table5_best_hyperparameters'].items()
    for row, values in rows.items()
}


def test_the_wide_domain_holds_every_row_of_table_5_and_our_own():
    assert len(ROWS) == 7 + 8 + 7 + 8 + 6
    ours = {
        f'{net} {row} (ours)': values
        for net, rows in published._tuned().items()
        if isinstance(rows, dict)
        for row, values in rows.items()
        if row in PAPERS or row not in rules.RULES  # those of other rules are not ours
    }
    outside = [
        (row, name, value)
        for row, values in (ROWS | ours).items()
        for name, value in values.items()
        if not name.endswith('scale') and not inside(WIDE, name, value)
    ]
    assert outside == []


def test_table_4_is_the_papers_and_holds_less():
    """Copied by hand from the paper."""
    assert table4(rules.dtp()) == {
        'lr': LogUniform(1e-5, 3e-4), 'feedback_lr': LogUniform(1e-5, 3e-4),
        'beta1': Choice((0.9,)), 'beta2': Choice([0.99, 0.999]),
        'eps': Choice([1e-4, 1e-6, 1e-8]), 'alpha': Uniform(0.01, 0.2),
        'sigma': Uniform(0.01, 0.3),
    }  # fmt: skip
    assert published.tables()['table4_search_space']['configurations'] == 60
    mnist = ROWS['mnist_fc dtp_parallel']
    assert not inside(table4(rules.dtp()), 'lr', mnist['lr'])
    for name, spread in table4(rules.dtp()).items():
        ends = spread.values if isinstance(spread, Choice) else spread
        assert all(inside(WIDE, name, end) for end in ends)


# ------------------------------------------------------------------ rungs and ranks


@pytest.mark.parametrize(
    ('configurations', 'epochs', 'rungs'),
    [
        (27, 27, [(27, 1), (9, 3), (3, 9), (1, 27)]),
        (26, 27, [(26, 3), (9, 9), (3, 27)]),
        (27, 26, [(27, 2), (9, 8), (3, 26)]),
        (60, 20, [(60, 2), (20, 6), (7, 20)]),
        (10, 100, [(10, 11), (4, 33), (2, 100)]),
        (9, 9, [(9, 1), (3, 3), (1, 9)]),
        (243, 243, [(243, 1), (81, 3), (27, 9), (9, 27), (3, 81), (1, 243)]),
        (3, 3, [(3, 1), (1, 3)]),
        (2, 50, [(2, 50)]),
        (50, 2, [(50, 2)]),
        (1, 1, [(1, 1)]),
    ],
)
def test_rungs_of_halving(configurations, epochs, rungs):
    """A third each, rounded up, for three times as long; the last has all the epochs."""
    assert halving(configurations, epochs) == tuple(Rung(*rung) for rung in rungs)


def test_rungs_of_halving_by_two():
    assert halving(8, 20, factor=2) == (Rung(8, 2), Rung(4, 5), Rung(2, 10), Rung(1, 20))


def test_rungs_of_the_papers():
    assert full(60, 500) == (Rung(60, 500),)
    assert imagenet(20, 100) == (Rung(20, 10), Rung(1, 100))
    assert imagenet(20, 5) == (Rung(20, 5), Rung(1, 5))


def summary(error, diverged=False, test=50.0, kind='error'):
    scores = {f'validation_{kind}': error, f'test_{kind}_at_best_validation': test}
    return {**scores, f'best_test_{kind}': test, 'diverged': diverged}


@pytest.mark.parametrize('kind', ['error', 'loss'])
def test_ranks(kind):
    """Those that diverged are last, however good they were; equals stand in order."""
    rows = [
        (3.0, False), (1.0, True), (2.0, False), (None, True), (3.0, False), (None, False),
        (0.0, False), (math.nan, False), (2.5, False), (0.5, True),
    ]  # fmt: skip
    assert rank([summary(*row, kind=kind) for row in rows]) == [6, 2, 8, 0, 4, 5, 7, 9, 1, 3]
    assert rank([]) == []


# ------------------------------------------------------------------ the plan


class Fake:
    """Results by a function of the configuration, once they are trained."""

    def __init__(self, summarise):
        self.summarise, self.trained, self.stages = summarise, {}, []

    def result(self, config):
        return self.trained.get(run_name(config))

    def work(self, plan):
        """Trains all that the plan asks for, stage by stage."""
        while asked := [config for config in plan(self.result) if self.result(config) is None]:
            self.stages.append(asked)
            self.trained |= {run_name(config): self.summarise(config) for config in asked}
        return self


def by_rate(config):
    """The validation error is the better the larger the rate, and the test error the worse."""
    return summary(-math.log(config['lr']), test=-1 / math.log(config['lr']))


def make_search(rungs=None, seeds=3, epochs=30, config=CONFIG):
    rungs = halving(9, 9) if rungs is None else rungs
    return Search(config, WIDE, rungs, seeds, epochs)


def test_each_rung_keeps_the_best_and_trains_them_for_longer():
    searched = make_search()
    stages = Fake(by_rate).work(searched.plan).stages
    configs = [draw(CONFIG, WIDE, number, 0) for number in range(9)]
    best = sorted(configs, key=lambda config: -config['lr'])
    assert stages == [
        [config | {'epochs': 1} for config in configs],
        [config | {'epochs': 3} for config in best[:3]],
        [best[0] | {'epochs': 9}],
        [best[0] | {'epochs': 30, 'seed': seed} for seed in (6, 7, 8)],
    ]


def test_later_rungs_may_overturn_the_earlier_ones():
    def turned(config):
        return by_rate(config) if config['epochs'] == 1 else summary(config['lr'])

    stages = Fake(turned).work(make_search().plan).stages
    assert stages[2][0]['lr'] == min(config['lr'] for config in stages[1])


def test_nothing_is_decided_before_a_stage_is_complete():
    searched, fake = make_search(), Fake(by_rate)
    stage = searched.plan(fake.result)
    for config in stage[:-1]:
        fake.trained[run_name(config)] = by_rate(config)
    assert searched.plan(fake.result) == stage
    fake.trained[run_name(stage[-1])] = by_rate(stage[-1])
    assert [config['epochs'] for config in searched.plan(fake.result)] == [3, 3, 3]


def test_the_winners_seeds_are_not_those_of_the_search():
    stages = Fake(by_rate).work(make_search(full(5, 30), epochs=30).plan).stages
    of_search = {config['seed'] for stage in stages[:-1] for config in stage}
    of_winner = [config['seed'] for config in stages[-1]]
    assert len(of_winner) == len(set(of_winner)) == 3
    assert of_search == {5}
    assert not of_search & set(of_winner)


def test_the_test_set_is_never_looked_at():
    """Test errors that point elsewhere, or are not there at all, change nothing."""
    stages = Fake(by_rate).work(make_search().plan).stages
    hidden = ('best_test_error', 'test_error_at_best_validation')
    for change in (
        lambda config: {name: config['lr'] for name in hidden},
        lambda config: {name: -config['lr'] for name in hidden},
        lambda config: dict.fromkeys(hidden),
    ):
        other = Fake(lambda config, change=change: by_rate(config) | change(config))
        assert other.work(make_search().plan).stages == stages

    def blind(config):
        return {key: value for key, value in by_rate(config).items() if key not in hidden}

    assert Fake(blind).work(make_search().plan).stages == stages


def test_the_best_that_diverges_does_not_win():
    largest = max(draw(CONFIG, WIDE, number, 0)['lr'] for number in range(9))

    def summarise(config):
        return by_rate(config) | {'diverged': config['lr'] == largest}

    winner = Fake(summarise).work(make_search().plan).stages[-1][0]
    assert winner['lr'] == sorted(draw(CONFIG, WIDE, n, 0)['lr'] for n in range(9))[-2]


def test_without_rungs_the_configuration_itself_is_trained_with_seeds():
    stages = Fake(by_rate).work(make_search(()).plan).stages
    assert stages == [[CONFIG | {'epochs': 30, 'seed': seed} for seed in (6, 7, 8)]]


def test_plans_together_go_on_each_at_its_own_stage():
    other = CONFIG | {'seed': 50}
    plans = [make_search().plan, make_search(full(2, 4), 1, config=other).plan]
    fake = Fake(by_rate).work(together(plans))
    assert [len(stage) for stage in fake.stages] == [9 + 2, 3 + 1, 1, 3]
    assert [config['seed'] for config in fake.stages[1]] == [5, 5, 5, 51]


def test_every_kind_of_rungs_ends_with_all_the_epochs():
    for kind in search.RUNGS.values():
        for configurations in range(1, 40):
            rungs = kind(configurations, 30)
            assert rungs[0].configurations == configurations
            assert rungs[-1].epochs == 30
            assert all(rung.epochs >= 1 <= rung.configurations for rung in rungs)
