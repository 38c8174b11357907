"""Populations: each member is the run of its configuration alone, whatever befalls the others."""

import functools
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, IN_SHAPE, full, numpy

from bioprop.data import sets
from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.rules.base import inferring
from bioprop.running import population
from bioprop.running.population import Members, members_that_fit, program_of, train_population
from bioprop.running.report import scores_of
from bioprop.running.run import calls, make_hparams, make_run
from bioprop.running.train import Diverged, train
from bioprop.settings import paper
from bioprop.settings.resolve import hparams, resolve
from bioprop.training import crowd
from bioprop.training.crowd import Crowd
from bioprop.training.evaluation import evaluate
from bioprop.training.learner import init_state
from bioprop.training.passes import train_steps

pytestmark = pytest.mark.usefixtures('quick')
TIMES = ('seconds', 'examples_per_second')
MEMBERS, STEPS = 8, 4  # of a pass
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def make_part(seed, examples):
    random = np.random.default_rng(seed)
    images = random.integers(256, size=(examples, *IN_SHAPE), dtype=np.uint8)
    return sets.Part(images, random.integers(CLASSES, size=examples, dtype=np.int32))


@pytest.fixture(autouse=True)
def small_set(monkeypatch):
    """37 images: 4 minibatches of 8, and a remainder."""
    parts = (make_part(seed, examples) for seed, examples in enumerate((37, 23, 11)))
    images = sets.Dataset(*parts, CLASSES, np.full(1, 100.0), np.full(1, 50.0))
    monkeypatch.setattr(sets, 'load', lambda *_: images)


@pytest.fixture
def devices(monkeypatch):
    """Sets how many devices there are."""

    def use(number):
        monkeypatch.setattr(jax, 'local_device_count', lambda: number)

    use(1)
    return use


def make_config(rule='bp', **settings):
    """A resolved configuration of a small net."""
    small = {
        'hidden': (7, 5), 'batch_size': 8, 'epochs': 4, 'steps_per_call': 2,
        'eval_batch_size': 9, 'checkpoint_seconds': 0, 'lr': 0.01, 'feedback_lr': 0.02,
    }  # fmt: skip
    if rule == 'ao_sdtp':
        small['auxiliary_units'] = 3
    if rule == 'equilibrium_propagation':
        small |= {'free_steps': 4, 'nudged_steps': 3}
    return resolve(paper('mnist_mini', rule, **small | settings))


def make_configs(rule='bp', members=MEMBERS, **settings):
    """Members with seeds and hyperparameters of their own, the last with the largest seed."""
    config, random = make_config(rule, **settings), np.random.default_rng(0)
    return [
        config
        | {name: scaled(value, random) for name, value in hparams(config).items()}
        | {'seed': 3 + 7 * member if member < members - 1 else 2**32 - 1}
        for member in range(members)
    ]


def scaled(value, random):
    if isinstance(value, tuple):
        return tuple(scaled(each, random) for each in value)
    return value * random.uniform(0.5, 1)


def train_together(folder, configs):
    """Trains a population in a folder; returns its workdirs and summaries."""
    workdirs = [folder / f'member{number}' for number in range(len(configs))]
    return workdirs, train_population(configs, workdirs, folder / 'population')


def outcome(workdir):
    """(records, summary) without times."""
    records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    summary = json.loads((workdir / 'summary.json').read_text())
    return list(map(without_times, records)), without_times(summary)


def without_times(record):
    return {name: value for name, value in record.items() if name not in TIMES}


def assert_same_outcome(workdir, expected):
    """The same records and summary, but for times and rounding."""
    (records, summary), (expected_records, expected_summary) = map(outcome, (workdir, expected))
    pairs = zip((*records, summary), (*expected_records, expected_summary), strict=True)
    for found, wanted in pairs:
        assert found.keys() == wanted.keys()
        numbers = [key for key in wanted if isinstance(wanted[key], float)]
        assert found == wanted | {key: found[key] for key in numbers}
        close([found[key] for key in numbers], [wanted[key] for key in numbers])


def programs(run):
    """(init, train_steps(turns, steps), evaluate) of a run for one member, compiled once."""

    @functools.cache
    def train(turns, steps):
        function = functools.partial(train_steps, run.learner, turns, run.batch_size, steps)
        return jax.jit(function)

    init = jax.jit(functools.partial(init_state, run.learner))
    return init, train, jax.jit(functools.partial(evaluate, run.learner, 9))


def train_alone(configs, until=math.inf):
    """The members one by one by `bioprop.training` alone, up to a step: Members, stacked."""
    run = make_run(configs[0])
    init, train, score = programs(run)
    members = []
    for config in configs:
        values = make_hparams(config, run.learner)
        state = init(jax.random.key(config['seed']), values)
        best, lowest = inferring(run.learner.rule, state.weights), math.inf
        for call in calls(config, run, 0):
            if call.position > until:
                break
            state, _ = train(call.turns, call.steps)(state, run.parts['train'], values)
            if call.evaluated:
                sums = score(state.weights, values, run.parts['validation'])
                rank = scores_of(run.learner, 'validation', sums, 23)['validation_error']
                if rank < lowest:
                    best, lowest = inferring(run.learner.rule, state.weights), rank
        members.append(Members(state, best))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def last_step(folder):
    """That of a population's last checkpoint."""
    names = (path.name for path in (folder / 'population' / 'checkpoints').iterdir())
    return max(int(name) for name in names if name.isdigit())


def last_members(folder, like):
    """The members of a population's last checkpoint."""
    checkpoints = Checkpoints(folder / 'population' / 'checkpoints')
    _, members = checkpoints.restore_latest(like)
    checkpoints.close()
    return members


CASES = [
    ('bp', 'parallel'), full('dtp', 'alternating_step'), full('ao_sdtp', 'alternating'),
    full('equilibrium_propagation', 'parallel'),
    *(slow(*case) for case in (('fa', 'parallel'), ('dtp', 'parallel'), ('dtp', 'alternating'))),
]  # fmt: skip


@pytest.mark.parametrize(('rule', 'schedule'), CASES)
def test_each_member_equals_its_steps_alone(rule, schedule, tmp_path, x64, devices):
    """Weights, moments, counts and keys at the end, and the best weights; 20 or 24 steps."""
    epochs = 3 if schedule == 'alternating' else 5
    options = {'sigma': (0.1, 0.2, 0.3)} if rule == 'dtp' else {}
    configs = make_configs(rule, schedule=schedule, epochs=epochs, **options)
    expected = train_alone(configs)
    train_together(tmp_path, configs)
    close(numpy(last_members(tmp_path, expected)), numpy(expected))
    last, best = expected.state.weights['forward'], expected.best['forward']
    assert (last[0]['kernel'] != best[0]['kernel']).any(), 'all are best in the end: too easy'


@pytest.mark.parametrize(
    ('number', 'members', 'width'),
    [(8, 8, 8), full(3, 8, 2), slow(1, 8, 3), slow(8, 3, 8)],
)
def test_devices_and_width_change_nothing(
    number, members, width, tmp_path, x64, devices, monkeypatch
):
    """Dividing the members or not; a share that the width divides or not."""
    devices(number)
    monkeypatch.setattr(crowd, 'WIDTH', {'cpu': width})
    configs = make_configs('fa', members, epochs=3)
    expected = train_alone(configs)
    workdirs, summaries = train_together(tmp_path, configs)
    close(numpy(last_members(tmp_path, expected)), numpy(expected))
    assert [summary['seed'] for summary in summaries] == [config['seed'] for config in configs]
    assert [json.loads((w / 'summary.json').read_text()) for w in workdirs] == summaries


@pytest.mark.parametrize(
    ('rule', 'options', 'number', 'members'),
    [
        ('dtp', {'schedule': 'alternating', 'steps_per_call': 3, 'eval_every': 2}, 1, 2),
        ('equilibrium_propagation', {}, 1, 2),
        slow('ao_sdtp', {'schedule': 'alternating_step'}, 3, 4),
        slow('bp', {'augment': True, 'steps_per_call': 0}, 8, 3),
        slow('bp', {'loss': 'reconstruction'}, 1, 2),
    ],
)
@pytest.mark.full
def test_each_member_leaves_what_its_run_alone_leaves(
    rule, options, number, members, tmp_path, x64, devices
):
    """config.json, metrics.jsonl and summary.json."""
    steps = options.pop('steps_per_call', 2) or None
    configs = make_configs(rule, members, steps_per_call=steps, epochs=3, **options)
    devices(number)
    workdirs, summaries = train_together(tmp_path, configs)
    devices(1)
    for workdir, config, summary in zip(workdirs, configs, summaries, strict=True):
        expected = train(config, tmp_path / 'alone' / workdir.name, [])
        assert_same_outcome(workdir, tmp_path / 'alone' / workdir.name)
        assert summary.keys() == expected.keys()
        found, wanted = (
            json.loads((folder / 'config.json').read_text())
            for folder in (workdir, tmp_path / 'alone' / workdir.name)
        )
        assert found == wanted


@pytest.mark.full
def test_in_single_precision_the_first_steps_agree(tmp_path, devices):
    """20 steps of some 10 roundings of 2^-24 each: 1e-5 of the norm of an array."""
    configs = make_configs('dtp', eps=1e-3, feedback_eps=1e-3, epochs=5)
    expected = train_alone(configs)
    train_together(tmp_path, configs)
    found = last_members(tmp_path, expected)
    leaves = (jax.tree.leaves(members.state.weights) for members in (found, expected))
    for pair in zip(*leaves, strict=True):
        x, y = (np.asarray(leaf).reshape(MEMBERS, -1) for leaf in pair)
        assert (np.linalg.norm(x - y, axis=1) <= 1e-5 * np.linalg.norm(y, axis=1)).all()


# ------------------------------------------------------------------ members that diverge


def exploding_configs(rates, **settings):
    """SGD whose decay multiplies the weights by about a thousandth of each rate in each step."""
    config = make_config(
        optimizer='sgd', beta1=None, beta2=None, eps=None, weight_decay=1e-3, **settings
    )
    return [config | {'seed': seed, 'lr': rate} for seed, rate in enumerate(rates)]


RATES = (0.05, 1e30, 0.1, 1e200)  # the second overflows in its third epoch, the last at once


@pytest.mark.full
def test_a_member_that_diverges_is_frozen_and_marked(tmp_path, x64, devices):
    devices(3)
    configs = exploding_configs(RATES)
    workdirs, summaries = train_together(tmp_path, configs)
    devices(1)
    assert [summary['diverged'] for summary in summaries] == [False, True, False, True]
    for number, config in enumerate(configs):
        alone = tmp_path / 'alone' / str(number)
        if summaries[number]['diverged']:
            with pytest.raises(Diverged):
                train(config, alone, [])
        else:
            train(config, alone, [])
        assert_same_outcome(workdirs[number], alone)

    (records, _), (none, _) = map(outcome, (workdirs[1], workdirs[3]))
    assert none == []
    assert STEPS < records[-1]['step'] < 4 * STEPS
    frozen = train_alone(configs[1:2], until=records[-1]['step'])
    members = last_members(tmp_path, train_alone(configs))
    close(numpy(jax.tree.map(lambda leaf: leaf[1:2], members)), numpy(frozen))
    assert members.state.step.tolist() == [16, records[-1]['step'], 16, 0]


class Killed(BaseException):
    """What ends a process in these tests."""


def die_at_save(monkeypatch, number):
    """The process ends in place of a save; its records are written by then."""
    left, save = [number], Checkpoints.save

    def dying(self, *arguments):
        left[0] -= 1
        if not left[0]:
            raise Killed
        save(self, *arguments)

    monkeypatch.setattr(Checkpoints, 'save', dying)


@pytest.mark.parametrize('number', [slow(1), full(3)])
def test_killed_and_resumed_equals_never_killed(number, tmp_path, x64, devices, monkeypatch):
    """With members that diverge, one of them before the first checkpoint."""
    devices(number)
    configs = exploding_configs(RATES, epochs=5)
    calm, stormy = tmp_path / 'calm', tmp_path / 'stormy'
    workdirs, summaries = train_together(calm, configs)
    like = train_alone(configs)
    for deaths, saved in ((3, 4), (4, 10), (3, 14)):  # of 10 saves, at every second step
        with monkeypatch.context() as patch:
            die_at_save(patch, deaths)
            with pytest.raises(Killed):
                train_together(stormy, configs)
        assert last_step(stormy) == saved
    others, resumed = train_together(stormy, configs)
    assert list(map(outcome, others)) == list(map(outcome, workdirs))
    assert list(map(without_times, resumed)) == list(map(without_times, summaries))
    chex.assert_trees_all_equal(numpy(last_members(stormy, like)), numpy(last_members(calm, like)))


@pytest.mark.full
def test_resumed_within_an_alternating_epoch_equals_never_killed(tmp_path, devices, monkeypatch):
    """And trained again when it is complete, it stays as it is.

    A member that a forward pass froze stays so in the feedback pass that is resumed.
    """
    devices(3)
    configs = make_configs('dtp', 4, schedule='alternating', epochs=2)
    configs[1]['lr'] = math.inf
    calm, stormy = tmp_path / 'calm', tmp_path / 'stormy'
    workdirs, _ = train_together(calm, configs)
    like = train_alone(configs)
    with monkeypatch.context() as patch:
        die_at_save(patch, 6)  # in the second epoch's feedback pass, with one call of it saved
        with pytest.raises(Killed):
            train_together(stormy, configs)
    for _ in range(2):
        others, _ = train_together(stormy, configs)
        assert list(map(outcome, others)) == list(map(outcome, workdirs))
    chex.assert_trees_all_equal(numpy(last_members(stormy, like)), numpy(last_members(calm, like)))


def test_a_population_of_which_nobody_is_left_ends(tmp_path, x64, devices):
    configs = exploding_configs((1e30, 1e200), epochs=1000)
    for _ in range(2):
        workdirs, summaries = train_together(tmp_path, configs)
        assert [summary['diverged'] for summary in summaries] == [True, True]
        assert outcome(workdirs[0])[0][-1]['step'] < 4 * STEPS


def test_lost_records_are_named(tmp_path, devices, monkeypatch):
    configs = make_configs(members=2)
    with monkeypatch.context() as patch:
        die_at_save(patch, 3)
        with pytest.raises(Killed):
            train_together(tmp_path, configs)
    (tmp_path / 'member1' / 'metrics.jsonl').unlink()
    with pytest.raises(UserError, match=r'member1/metrics.jsonl lacks records up to step 4'):
        train_together(tmp_path, configs)


# ------------------------------------------------------------------ programs and memory


def test_members_share_all_but_seeds_and_hyperparameters(tmp_path, devices):
    config = make_config('dtp')
    other = config | {'seed': 4, 'lr': 0.5, 'feedback_lr': 0.1, 'sigma': 0.9, 'alpha': 0.3}
    assert program_of(config) == program_of(other) == program_of(json.loads(json.dumps(config)))
    for change in (
        {'epochs': 5}, {'hidden': (7, 6)}, {'sigma': (0.1, 0.2, 0.3)}, {'weight_decay': 0.1},
        {'schedule': 'alternating'}, {'dataset': 'mnist'}, {'activation': 'relu'},
    ):  # fmt: skip
        assert program_of(config) != program_of(config | change)
        with pytest.raises(UserError, match='members of a population may differ in'):
            train_together(tmp_path, [config, config | change])
    assert not list(tmp_path.iterdir())


def test_a_rule_that_reports_no_feedback_loss_has_members_too(tmp_path, devices, monkeypatch):
    (tmp_path / 'plain_rule.py').write_text(
        'import jax, jax.numpy as jnp\n'
        'from bioprop import Rule\n'
        'def init(key, network, forward):\n'
        '    return jnp.ones(3), ()\n'
        'def updates(network, weights, states, context):\n'
        '    return jax.tree.map(jnp.ones_like, {k: weights[k] for k in ("forward", "feedback")})\n'
        'def plain():\n'
        '    return Rule(init, updates=updates)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    adam = {
        f'{side}{name}': 0.5 for side in ('', 'feedback_') for name in ('beta1', 'beta2', 'eps')
    }
    config = make_config('plain_rule:plain', schedule='alternating', epochs=1, **adam)
    _, summaries = train_together(tmp_path, [config, config | {'lr': math.inf}])
    assert [summary['diverged'] for summary in summaries] == [False, True]


@pytest.mark.full
def test_the_width_is_halved_until_it_fits_and_changes_nothing(tmp_path, x64, devices, monkeypatch):
    widths, needs, compile_one = [], {5: 900, 3: 500, 2: 300, 1: 100}, Crowd._compile
    monkeypatch.setattr(crowd, 'WIDTH', {})  # as many side by side as there are

    def recorded(self, *arguments):
        widths.append(arguments[-1])
        return compile_one(self, *arguments)

    monkeypatch.setattr(Crowd, '_compile', recorded)
    monkeypatch.setattr(crowd, 'program_bytes', lambda _: needs[widths[-1]])
    crowds, arguments = Crowd(5), (jnp.arange(5.0), jnp.arange(5.0))
    for limit, used in ((900, [5]), (899, [5, 3]), (300, [5, 3, 2]), (1, [5, 3, 2, 1])):
        widths.clear()
        monkeypatch.setattr(crowd, 'memory', lambda limit=limit: limit)
        doubled = crowds.each(lambda x, y: x + y, arguments)(*arguments)
        np.testing.assert_array_equal(doubled, 2 * np.arange(5.0))
        assert widths == used
    configs = make_configs(members=2, epochs=2)
    expected = train_alone(configs)
    train_together(tmp_path, configs)
    assert widths[-2:] == [2, 1]
    close(numpy(last_members(tmp_path, expected)), numpy(expected))


def test_what_a_program_needs_grows_with_its_width(devices):
    """By an array of 100 x 100 for each of seven members more, less what a loop needs."""
    crowds, members = Crowd(8), jnp.ones((8, 100))

    def function(x):
        return jnp.sort(jnp.sort(jnp.outer(x, x), axis=0), axis=1)[0, 0]

    wide, narrow = (
        crowd.program_bytes(crowds._compile(function, (members,), (), False, width))
        for width in (8, 1)
    )
    assert wide - narrow > 6 * 4 * 100 * 100
    assert narrow >= members.nbytes


def test_members_that_fit_goes_by_arithmetic(devices, monkeypatch):
    """Weights, two moments and the best weights in single precision, and the counts."""
    config = make_config()
    numbers = (12 * 7 + 7) + (7 * 5 + 5) + (5 * 4 + 4)
    member = 4 * (4 * numbers) + 4 + 4 + 8  # the step, Adam's count, the key
    for bytes_of_a_device, number, fit in (
        (40 * member, 1, 10), (40 * member - 1, 1, 9), (40 * member, 3, 30), (1, 1, 1), (1, 8, 8),
    ):  # fmt: skip
        devices(number)
        monkeypatch.setattr(population, 'memory', lambda limit=bytes_of_a_device: limit)
        assert members_that_fit(config) == fit


def test_the_devices_of_a_cpu_share_its_memory(devices):
    whole = crowd.memory()
    devices(4)
    assert crowd.memory() == whole // 4
