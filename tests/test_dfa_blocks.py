"""DFA whose feedback is drawn anew in each step: the numbers of the stored one, in less memory."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners import replicas
from problems import BATCH, CLASSES, IN_SHAPE, feedforward, numpy

from bioprop import rules
from bioprop.errors import UserError
from bioprop.losses import softmax_cross_entropy
from bioprop.objective import objective
from bioprop.records.checkpoint import Checkpoints
from bioprop.rules import Context, random_matrix
from bioprop.rules.random_matrix import draw, project
from bioprop.running import population
from bioprop.settings import paper
from bioprop.settings.resolve import make_rule, resolve
from bioprop.training import crowd, optim
from bioprop.training.crowd import program_bytes
from bioprop.training.images import Images
from bioprop.training.learner import Learner
from bioprop.training.passes import train_steps
from bioprop.training.schedules import FORWARD
from bioprop.training.step import train_step

pytestmark = pytest.mark.usefixtures('quick')
close = functools.partial(chex.assert_trees_all_close, rtol=1e-12, atol=1e-14)
STORED, REGENERATED = rules.dfa(), rules.dfa(feedback='regenerated')
HIDDEN = (7, 5)
LAYERS = len(HIDDEN) + 1


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of two units of CLASSES outputs: several a layer, and a ragged last one in 7 and 5."""
    monkeypatch.setattr(random_matrix, 'BLOCK', 2 * CLASSES + 1)


def test_what_kernels_align_with_is_that_of_the_stored_matrices(blocks):
    network, key = feedforward(IN_SHAPE, HIDDEN, CLASSES), jax.random.key(4)
    found, expected = (
        rule.feedback_kernels(network, rules.init_weights(key, network, rule))
        for rule in (REGENERATED, STORED)
    )
    assert found[0] is None
    for kernel, same in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(kernel, same)


# ------------------------------------------------------------------ the matrix


def uniform(key, rows, columns, fans):
    limit = math.sqrt(6 / fans)
    return np.asarray(jax.random.uniform(key, (rows, columns), minval=-limit, maxval=limit))


@pytest.mark.parametrize(
    ('shape', 'heights'),
    [
        ((8, 5), (2, 2, 2, 2)), ((11, 5), (2, 2, 2, 2, 2, 1)), ((7, 3), (4, 3)),
        ((5, 3), (3, 2)), ((3, 40), (1, 1, 1)),
    ],
)  # fmt: skip
def test_a_matrix_is_its_blocks_each_with_a_key_of_its_own(shape, heights, monkeypatch):
    monkeypatch.setattr(random_matrix, 'BLOCK', 12)
    key = jax.random.key(3)
    expected = [
        uniform(jax.random.fold_in(key, i), rows, shape[1], sum(shape))
        for i, rows in enumerate(heights)
    ]
    np.testing.assert_array_equal(draw(key, shape), np.concatenate(expected))


def test_of_one_block_it_is_drawn_from_the_key_itself():
    """So it was before there were blocks, when DFA was run on the nets of MNIST and CIFAR-10."""
    for shape in ((256, 10), (1024, 10), (16 * 16 * 64, 10)):
        expected = uniform(jax.random.key(5), *shape, fans=sum(shape))
        np.testing.assert_array_equal(draw(jax.random.key(5), shape), expected)
    weights = rules.init_weights(
        jax.random.key(0), feedforward((28, 28, 1), (256,) * 5, 10), STORED
    )
    own = jax.random.fold_in(jax.random.key(0), 1)
    expected = [uniform(jax.random.fold_in(own, index), 256, 10, 266) for index in range(5)]
    chex.assert_trees_all_equal(numpy(weights['fixed']), (*expected, None))


@pytest.mark.parametrize(('rows', 'blocks'), [(2**10, 1), (2**10 + 1, 2)])
def test_up_to_a_million_entries_are_drawn_at_once(rows, blocks):
    """2^20 of them: with another number, feedback that is not stored would change over a resume."""
    key, shape = jax.random.key(2), (rows, 2**10)
    height = math.ceil(rows / blocks)
    first = key if blocks == 1 else jax.random.fold_in(key, 0)
    expected = uniform(first, height, shape[1], sum(shape))
    np.testing.assert_array_equal(draw(key, shape)[:height], expected)


def test_every_block_is_uniform_to_the_limit_and_unlike_the_others(monkeypatch):
    """Kolmogorov's distance of n numbers exceeds 2 / sqrt(n) with probability 7e-4."""
    monkeypatch.setattr(random_matrix, 'BLOCK', 4000)
    rows, columns = 395, 100  # nine blocks of 40 rows, one of 35
    limit = math.sqrt(6 / (rows + columns))
    matrix = np.asarray(draw(jax.random.key(1), (rows, columns)), np.float64)
    assert 0.999 * limit < abs(matrix).max() <= limit
    for part in (matrix, *np.split(matrix, range(40, rows, 40))):
        n = part.size
        quantiles = (np.sort(part, axis=None) / limit + 1) / 2
        assert abs(quantiles - (np.arange(n) + 0.5) / n).max() < 2 / math.sqrt(n)
        assert abs(part.mean()) < 4 * limit / math.sqrt(3 * n)
        np.testing.assert_allclose(part.var(), limit**2 / 3, rtol=4 * math.sqrt(0.8 / n))
    assert len(np.unique(matrix)) > 0.99 * matrix.size  # of 2^23 levels
    first, second = matrix[:40].ravel(), matrix[40:80].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(first.size)


@pytest.mark.parametrize('block', [12, 10**6])
def test_the_projection_is_the_product_with_the_matrix(block, x64, strict, monkeypatch):
    """For one key, and for several side by side."""
    monkeypatch.setattr(random_matrix, 'BLOCK', block)
    shape, keys = (11, 5), jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(jax.random.key(1), (3, 4, 5))
    expected = [np.asarray(x[i]) @ np.asarray(draw(key, shape)).T for i, key in enumerate(keys)]
    close(project(keys[0], shape, x[0]), expected[0])
    together = jax.jit(jax.vmap(lambda key, x: project(key, shape, x)))(keys, x)
    close(together, np.stack(expected))


# ------------------------------------------------------------------ the rule


def make_learner(rule):
    network = feedforward(IN_SHAPE, HIDDEN, CLASSES)
    adam = {'forward': lambda hparams: optim.optimizer('adam', hparams['lr'])}
    return Learner(network, rule, softmax_cross_entropy, adam)


def make_batch():
    random = np.random.default_rng(0)
    return {
        'image': jnp.asarray(random.normal(size=(BATCH, *IN_SHAPE)), float),
        'label': jnp.asarray(random.integers(CLASSES, size=BATCH), jnp.int32),
        'index': jnp.arange(BATCH),
    }


def make_hparams(feedback_scale):
    return {'lr': jnp.asarray(0.01, float), 'feedback_scale': jnp.asarray(feedback_scale, float)}


def start(rule, seed, hparams):
    return population.init_member(make_learner(rule), seed, hparams).state


def trained(rule, steps, scale, seed):
    """(weights, metrics) after some steps, from a seed."""
    learner, hparams, batch = make_learner(rule), make_hparams(scale), make_batch()

    def body(state, _):
        return train_step(learner, (FORWARD,), state, batch, hparams)

    state, metrics = jax.lax.scan(body, start(rule, seed, hparams), length=steps)
    return state.weights, metrics


def test_training_is_that_of_the_stored_feedback(x64, blocks):
    """For two seeds side by side, each with keys of its own, which stay as they were."""
    seeds = jnp.arange(2)
    (expected, losses), (found, found_losses) = (
        jax.jit(jax.vmap(functools.partial(trained, rule, 4, (0.5, 2.0, 1.0))))(seeds)
        for rule in (STORED, REGENERATED)
    )
    close((found['forward'], found_losses), (expected['forward'], losses))
    for seed in seeds:
        own = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 0), 1)
        for index, width in enumerate(HIDDEN):
            key = found['fixed'][index][seed]
            assert key == jax.random.fold_in(own, index)
            close(expected['fixed'][index][seed], draw(key, (width, CLASSES)))


def deltas(rule, weights, scale):
    network, batch = feedforward(IN_SHAPE, HIDDEN, CLASSES), make_batch()
    context = Context(softmax_cross_entropy, batch, jax.random.key(0), make_hparams(scale))
    states = network.states(weights['forward'], batch['image'])
    return rule.signals(network, weights, states, context), context.error(states)


@pytest.mark.parametrize('scale', [0.7, (0.5, 2.0, 1.0)], ids=['one', 'each'])
@pytest.mark.parametrize('rule', [STORED, REGENERATED], ids=['stored', 'regenerated'])
def test_signals_are_the_error_through_the_blocks(rule, scale, strict, blocks):
    """In single precision; the matrices put together by hand."""
    key, network = jax.random.key(4), feedforward(IN_SHAPE, HIDDEN, CLASSES)
    signals, error = jax.jit(functools.partial(deltas, rule, scale=scale))(
        rules.init_weights(key, network, rule)
    )
    each = np.broadcast_to(scale, LAYERS)
    for index, (width, delta) in enumerate(zip(HIDDEN, signals[:-1], strict=True)):
        own = jax.random.fold_in(jax.random.fold_in(key, 1), index)
        heights = [2] * (width // 2) + [1] * (width % 2)
        b = np.concatenate([
            uniform(jax.random.fold_in(own, i), rows, CLASSES, width + CLASSES)
            for i, rows in enumerate(heights)
        ])  # fmt: skip
        np.testing.assert_allclose(
            delta, each[index] * np.asarray(error) @ b.T, rtol=2e-5, atol=1e-6
        )
    chex.assert_trees_all_equal(signals[-1], error)


def test_keys_have_no_gradient_and_the_forward_weights_that_of_the_stored(x64, blocks):
    network, batch, found = feedforward(IN_SHAPE, HIDDEN, CLASSES), make_batch(), {}
    for name, rule in (('stored', STORED), ('regenerated', REGENERATED)):
        f = objective(network, rule, softmax_cross_entropy)
        weights = rules.init_weights(jax.random.key(0), network, rule)
        gradient = jax.jit(jax.grad(f, has_aux=True, allow_int=True))
        found[name], _ = gradient(weights, batch, jax.random.key(1), make_hparams(1.0))
    close(found['regenerated']['forward'], found['stored']['forward'])
    kinds = {leaf.dtype for leaf in jax.tree.leaves(found['regenerated']['fixed'])}
    assert kinds == {jax.dtypes.float0}


def make_images():
    random = np.random.default_rng(1)
    return Images(
        jnp.asarray(random.integers(256, size=(12, *IN_SHAPE)), jnp.uint8),
        jnp.asarray(random.integers(CLASSES, size=12), jnp.int32),
        *jnp.asarray([[100.0], [50.0]], float),
    )


def test_several_devices_and_populations_train_as_one_run(x64, blocks, monkeypatch):
    """A run spread over 2 devices; three members of which two are side by side on each of two."""
    monkeypatch.setattr(jax, 'local_device_count', lambda: 2)
    monkeypatch.setattr(crowd, 'WIDTH', {})
    learner, hparams, images = make_learner(REGENERATED), make_hparams(0.7), make_images()
    steps = functools.partial(train_steps, learner, (FORWARD,), 4, 3)
    alone = []
    for seed, devices in ((2, 1), (2, 2)):
        state = start(REGENERATED, seed, hparams)
        team = replicas(devices)
        arguments = team.place((state, images, hparams))
        alone.append(numpy(team.spread(steps, arguments)(*arguments)))
    near = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)
    near(alone[1], alone[0])
    assert alone[0][1]['finite']

    many = crowd.Crowd(3)
    seeds, alive = map(many.divide, (np.arange(3, dtype=np.uint32), np.ones(3, bool)))
    each = many.divide(jax.tree.map(lambda x: np.stack([x] * 3), hparams))
    init = functools.partial(population.init_member, learner)
    members = many.each(init, (seeds, each))(seeds, each)
    function = functools.partial(population.train_member, learner, (FORWARD,), 4, 3)
    program = many.each(function, (members, alive, each), (many.everywhere(images),))
    members, _, finite = program(members, alive, each, many.everywhere(images))
    last = jax.tree.map(lambda x: x[2], many.gather(members.state))
    near(numpy(last), alone[0][0])
    assert many.host(finite).all()


def test_a_checkpoint_holds_the_keys(tmp_path):
    state, other = (start(REGENERATED, seed, make_hparams(1.0)) for seed in (0, 1))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state)
    checkpoints.wait()
    restored = checkpoints.restore(7, other)
    checkpoints.close()
    chex.assert_trees_all_equal(numpy(restored), numpy(state))


# ------------------------------------------------------------------ configurations


def test_a_config_names_it():
    assert resolve(paper('mnist', 'dfa'))['feedback'] == 'stored'
    assert 'feedback' not in resolve(paper('mnist', 'dtp'))
    network, fixed = feedforward(IN_SHAPE, HIDDEN, CLASSES), {}
    for feedback in ('stored', 'regenerated'):
        rule = make_rule(resolve(paper('mnist', 'dfa', f'feedback={feedback}')))
        fixed[feedback] = rules.init_weights(jax.random.key(0), network, rule)['fixed']
    assert [b.shape for b in fixed['stored'][:-1]] == [(width, CLASSES) for width in HIDDEN]
    assert [b.shape for b in fixed['regenerated'][:-1]] == [()] * len(HIDDEN)
    with pytest.raises(UserError, match=r"feedback belongs to dfa.*, not to rule 'fa'"):
        resolve(paper('mnist', 'fa', 'feedback=regenerated'))
    with pytest.raises(UserError, match="no feedback 'regenerate'; did you mean 'regenerated'"):
        resolve(paper('mnist', 'dfa', 'feedback=regenerate'))


# ------------------------------------------------------------------ memory


def test_a_step_of_signals_holds_a_block(monkeypatch):
    """At most twelve arrays of a block, and the signals, at 3 % of the whole feedback."""
    monkeypatch.setattr(random_matrix, 'BLOCK', block := 1 << 16)
    batch, outputs, hidden = 4, 200, (60_000, 40_000)
    network = feedforward((6,), hidden, outputs)
    states = [jax.ShapeDtypeStruct((batch, width), float) for width in (6, *hidden, outputs)]
    label = jax.ShapeDtypeStruct((batch,), jnp.int32)
    needed = {}
    for name, rule in (('stored', STORED), ('regenerated', REGENERATED)):

        def signals(fixed, logits, label, scale, rule=rule):
            context = Context(
                softmax_cross_entropy, {'label': label}, None, {'feedback_scale': scale}
            )
            return rule.signals(network, {'fixed': fixed}, (*states[:-1], logits), context)

        _, fixed = jax.eval_shape(
            lambda key, rule=rule: rule.init(key, network, ()), jax.random.key(0)
        )
        scale = jax.ShapeDtypeStruct((), float)
        needed[name] = program_bytes(
            jax.jit(signals).lower(fixed, states[-1], label, scale).compile()
        )
    dense = 4 * outputs * sum(hidden)
    bound = 12 * 4 * block + 3 * 4 * batch * (sum(hidden) + 2 * outputs)
    assert bound < 0.1 * dense
    assert needed['regenerated'] < bound
    assert needed['stored'] > dense
