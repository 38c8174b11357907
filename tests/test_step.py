"""Steps: turns, optimisers, fixed feedback, evaluation, the order of examples, many devices."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learners import make_hparams, make_images, make_learner, random_state, replicas
from problems import CLASSES, IN_SHAPE, feedforward, full, numpy, thinned

from bioprop.data.augment import crop_and_flip
from bioprop.errors import UserError
from bioprop.losses import reconstruction, softmax_cross_entropy
from bioprop.rules import Rule, init_weights
from bioprop.training import optim, parallel
from bioprop.training.evaluation import SEED, evaluate
from bioprop.training.images import Images
from bioprop.training.learner import Learner, init_state
from bioprop.training.passes import train_steps
from bioprop.training.schedules import BOTH, FEEDBACK, FORWARD, SCHEDULES, passes
from bioprop.training.step import mean_updates, train_batch, train_step

pytestmark = pytest.mark.usefixtures('quick')
DEVICES, BATCH = 8, 16
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)


def make_batch():
    return make_images().at(jnp.arange(BATCH)).batch() | {'index': jnp.arange(BATCH)}


def run_step(learner, turns, state):
    run = jax.jit(functools.partial(train_step, learner, turns))
    return run(state, make_batch(), make_hparams())


def side_of(state, side):
    return numpy((state.weights[side], state.optimizer[side]))


def counts(state, side):
    """The step counts in an optimiser's state."""
    leaves = jax.tree.leaves(state.optimizer[side])
    return [int(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]


def assert_moved(old, new, side, turns=1):
    """Every array of the side's weights and moments changed, and its counts grew by `turns`."""
    for a, b in zip(*map(jax.tree.leaves, (side_of(old, side), side_of(new, side))), strict=True):
        assert (a != b).any()
    assert counts(new, side) == [count + turns for count in counts(old, side)] != []


def turn(learner, sides):
    """(old state, new state, metrics) of a turn, which moves its sides and nothing else."""
    old = random_state(learner)
    new, metrics = run_step(learner, (sides,), old)
    for side in ('forward', 'feedback'):
        if side in sides:
            assert_moved(old, new, side)
        else:
            chex.assert_trees_all_equal(side_of(new, side), side_of(old, side))
    return old, new, metrics


# ------------------------------------------------------------------ turns


def test_every_turn_of_the_feedback_draws_noise_of_its_own(x64):
    """The first is that of a single turn; without noise a second is the first again."""
    learner = make_learner('dtp')
    old = random_state(learner)
    once, _ = run_step(learner, (FEEDBACK,), old)
    twice, _ = run_step(learner, (FEEDBACK, FEEDBACK), old)
    again, _ = run_step(learner, (FEEDBACK,), once._replace(step=old.step))
    kernels = (state.weights['feedback'][1]['kernel'] for state in (twice, again))
    assert (next(kernels) != next(kernels)).all()
    key = jax.random.fold_in(jax.random.fold_in(old.key, old.step), 1)
    weights = once.weights
    expected, _ = mean_updates(learner, FEEDBACK, weights, make_batch(), key, make_hparams())
    step, _ = learner.optimizers['feedback'](make_hparams()).update(
        expected['feedback'], once.optimizer['feedback'], weights['feedback']
    )
    close(numpy(twice.weights['feedback']), numpy(optax.apply_updates(weights['feedback'], step)))


def test_the_first_feedback_turn_and_all_forward_ones_have_the_key_of_their_step(x64):
    """A side steps by a normal draw of the key that the rule is given, at a rate of 1."""

    def updates(network, weights, states, context):
        return jax.tree.map(
            lambda w: jax.random.normal(context.key, w.shape),
            {side: weights[side] for side in BOTH},
        )

    made = make_learner('dtp', 'sgd')
    learner = made._replace(rule=made.rule._replace(updates=updates))
    old = random_state(learner)
    turns, hparams = (FEEDBACK, FEEDBACK, FORWARD), make_hparams(1.0)
    new, _ = jax.jit(functools.partial(train_step, learner, turns))(old, make_batch(), hparams)
    key = jax.random.fold_in(old.key, old.step)
    keys = {'forward': [key], 'feedback': [key, jax.random.fold_in(key, 1)]}
    for side, own in keys.items():
        was, now = (jax.tree.leaves(state.weights[side]) for state in (old, new))
        for a, b in zip(was, now, strict=True):
            close(np.asarray(a - b), np.asarray(sum(jax.random.normal(k, a.shape) for k in own)))


def test_passes_of_an_epoch_by_what_is_asked():
    both = ('forward', 'feedback')
    assert passes('parallel', both) == ((BOTH,),)
    assert passes('parallel', ('forward',)) == ((FORWARD,),)
    assert passes('parallel', both, feedback_steps=3) == ((FEEDBACK, FEEDBACK, BOTH),)
    assert passes('alternating', both, 2) == ((FEEDBACK, FEEDBACK), (FORWARD,))
    assert passes('alternating_step', both, 2, 1) == ((FEEDBACK, FEEDBACK, FORWARD), (FEEDBACK,))


TURNS = sorted({s for passes in SCHEDULES.values() for turns in passes for s in turns})


@pytest.mark.parametrize('sides', TURNS, ids='+'.join)
@pytest.mark.parametrize('name', ['dtp', 'ao_sdtp'])
def test_each_turn_moves_its_sides_and_leaves_the_other_bit_unchanged(name, sides):
    """Every turn that a schedule takes."""
    old, new, metrics = turn(make_learner(name), sides)
    assert ('loss' in metrics) == ('forward' in sides)
    assert ('feedback_loss' in metrics) == ('feedback' in sides)
    chex.assert_trees_all_equal(new.weights['fixed'], old.weights['fixed'])
    assert new.step == old.step + 1


def test_schedules_take_the_turns_of_the_paper():
    both, feedback, forward = ('forward', 'feedback'), ('feedback',), ('forward',)
    expected = {
        'parallel': ((both,),),
        'alternating': ((feedback,), (forward,)),  # a pass each, inverses first
        'alternating_step': ((feedback, forward),),
    }
    assert expected == SCHEDULES


def test_alternating_step_is_a_feedback_turn_and_then_a_forward_turn(x64):
    learner = make_learner('ao_sdtp')
    old = random_state(learner)
    half, inverse_metrics = run_step(learner, (FEEDBACK,), old)
    expected, metrics = run_step(learner, (FORWARD,), half._replace(step=old.step))
    (turns,) = SCHEDULES['alternating_step']
    new, both = run_step(learner, turns, old)
    close(numpy(new), numpy(expected))
    close(both, inverse_metrics | metrics)
    for side in ('forward', 'feedback'):
        assert_moved(old, new, side)


def test_metrics_are_the_mean_loss_and_the_percentage_of_mistakes(x64):
    learner = make_learner('bp')
    state, batch = random_state(learner), make_batch()
    _, metrics = run_step(learner, (FORWARD,), state)
    losses, mistakes = numpy_losses(state.weights, numpy(batch['image']), numpy(batch['label']))
    close(metrics, {'loss': losses.mean(), 'error': 100 * mistakes.mean()})


# ------------------------------------------------------------------ optimisers


def trajectory(transformation, gradients, weights):
    state = transformation.init(weights)
    for gradient in gradients:
        updates, state = transformation.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


def gradients():
    random = np.random.default_rng(3)
    return [{'w': jnp.asarray(random.normal(size=5), float)} for _ in range(4)]


def test_adam_with_weight_decay_is_adamw(x64):
    weights = {'w': jnp.arange(5.0)}
    ours = optim.optimizer('adam', 0.1, weight_decay=0.3, b1=0.8, eps=1e-3)
    theirs = optax.adamw(0.1, weight_decay=0.3, b1=0.8, eps=1e-3)
    close(trajectory(ours, gradients(), weights), trajectory(theirs, gradients(), weights))


@pytest.mark.parametrize('name', ['adam', 'sgd', 'rmsprop'])
def test_without_clip_and_decay_it_is_the_optimizer_of_optax(name, x64):
    weights = {'w': jnp.arange(5.0)}
    ours, theirs = optim.optimizer(name, 0.1), getattr(optax, name)(0.1)
    close(trajectory(ours, gradients(), weights), trajectory(theirs, gradients(), weights))


@pytest.mark.parametrize('options', [{}, {'momentum': 0.9}])
def test_weight_decay_of_sgd_shrinks_the_weights(options, x64):
    weights = {'w': jnp.array([3.0, -2.0])}
    zeros = [{'w': jnp.zeros(2)}] * 3
    decay = optim.optimizer('sgd', 0.1, weight_decay=0.5, **options)
    close(trajectory(decay, zeros, weights), {'w': 0.95**3 * weights['w']})


def test_clip_bounds_the_global_norm(x64):
    weights = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
    large = {'a': jnp.array([3.0]), 'b': jnp.array([-4.0])}
    small = {'a': jnp.array([0.6]), 'b': jnp.array([0.8])}
    clipped = optim.optimizer('sgd', 0.1, clip=2.0)
    close(trajectory(clipped, [large], weights), {'a': jnp.array([-0.12]), 'b': jnp.array([0.16])})
    close(trajectory(clipped, [small], weights), {'a': jnp.array([-0.06]), 'b': jnp.array([-0.08])})


def test_the_gradient_is_clipped_and_not_the_direction(x64):
    """Adam's first direction is g / (|g| + eps) of the clipped g = (3, 4) / 5."""
    params = {'w': jnp.zeros(2)}
    made = optim.optimizer('adam', 0.1, clip=1.0, eps=0.1)
    found, _ = made.update({'w': jnp.array([3.0, 4.0])}, made.init(params), params)
    close(found['w'], -0.1 * np.array([0.6 / 0.7, 0.8 / 0.9]))


@pytest.mark.parametrize('name', ['lbfgs', 'polyak_sgd', 'scale_by_learning_rate', 'clip', 'chain'])
def test_what_is_no_optimizer_by_gradients_is_refused(name):
    with pytest.raises(UserError, match=name):
        optim.optimizer(name, 0.1)


def test_decay_in_the_gradient_is_that_of_half_the_squared_weights(x64):
    """Coupled, Adam scales the decay like the gradient; decoupled, it does not see it."""
    weights, gradient = {'kernel': jnp.array([2.0, -1.0])}, {'kernel': jnp.array([0.3, 0.1])}
    coupled = optim.optimizer('adam', 0.1, weight_decay=0.5, coupled=True)
    found, _ = coupled.update(gradient, coupled.init(weights), weights)
    plain = optim.optimizer('adam', 0.1)
    whole = {'kernel': gradient['kernel'] + 0.5 * weights['kernel']}
    expected, _ = plain.update(whole, plain.init(weights), weights)
    close(numpy(found), numpy(expected))
    decoupled = optim.optimizer('adam', 0.1, weight_decay=0.5)
    found, _ = decoupled.update(gradient, decoupled.init(weights), weights)
    expected, _ = plain.update(gradient, plain.init(weights), weights)
    close(numpy(found)['kernel'], numpy(expected)['kernel'] - 0.1 * 0.5 * numpy(weights)['kernel'])


@pytest.mark.parametrize('name', ['adam', 'adamw', 'sgd', 'rmsprop'])
def test_an_optimizer_may_mix_types_where_a_rule_may_not(name, strict):
    direction, weights = optim.optimizer(name, 0.1), {'kernel': jnp.ones(3)}
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.ones(3) * jnp.arange(3)
    updates, _ = direction.update(weights, direction.init(weights), weights)
    assert updates['kernel'].dtype == weights['kernel'].dtype


def test_unknown_optimizer_or_option_is_a_user_error():
    with pytest.raises(UserError, match='adamm'):
        optim.optimizer('adamm', 0.1)
    with pytest.raises(UserError, match='momentun'):
        optim.optimizer('sgd', 0.1, momentun=0.9)


# ------------------------------------------------------------------ many steps


def train(learner, turns, steps=2, devices=1, mode='pmap'):
    function = functools.partial(train_steps, learner, turns, BATCH, steps)

    def run(*arguments):
        team = replicas(devices, mode)
        arguments = team.place(arguments)
        return team.spread(function, arguments)(*arguments)

    return run


@pytest.mark.parametrize('name', ['fa', 'dfa', 'ao_sdtp'])
def test_fixed_feedback_is_bit_unchanged_under_weight_decay(name):
    learner = make_learner(name, weight_decay=0.1)
    old = random_state(learner)
    sides = tuple(learner.optimizers)
    new, _ = train(learner, (sides,))(old, make_images(), make_hparams())
    assert jax.tree.leaves(old.weights['fixed'])
    chex.assert_trees_all_equal(new.weights['fixed'], old.weights['fixed'])
    for side in sides:
        assert_moved(old, new, side, turns=2)


def counting_learner(examples, batch_size):
    """Adds 1 to kernel[i, j] whenever example i stands at place j of a minibatch."""

    def updates(network, weights, states, context):
        places = jax.nn.one_hot(context.batch['index'], batch_size)
        seen = -states[0].reshape(-1, examples).T @ places
        (params,) = weights['forward']
        forward = ({'kernel': seen, 'bias': jnp.zeros_like(params['bias'])},)
        return {'forward': forward, 'feedback': ()}

    rule = Rule(lambda key, network, forward: ((), ()), updates=updates)
    network = feedforward((examples,), (), batch_size)
    optimizers = {'forward': lambda hparams: optim.optimizer('sgd', 1.0)}
    images = Images(
        jnp.eye(examples, dtype=jnp.uint8), jnp.zeros(examples, jnp.int32), jnp.zeros(1),
        jnp.ones(1),
    )  # fmt: skip
    return Learner(network, rule, softmax_cross_entropy, optimizers), images


def test_each_pass_visits_every_kept_example_once_in_its_own_order():
    examples, batch_size, passes = 11, 3, 3
    learner, images = counting_learner(examples, batch_size)
    run = jax.jit(functools.partial(train_steps, learner, (FORWARD,), batch_size, 1))
    state = init_state(learner, jax.random.key(0), {})
    orders = []
    for _ in range(passes):
        order = []
        for _ in range(examples // batch_size):
            before = state.weights['forward'][0]['kernel']
            state, _ = run(state, images, {})
            seen = np.asarray(jnp.round(state.weights['forward'][0]['kernel'] - before))
            np.testing.assert_array_equal(seen.sum(0), np.ones(batch_size))
            order.extend(seen.argmax(0))
        assert len(set(order)) == len(order) == 9
        orders.append(tuple(order))
    assert len(set(orders)) == passes
    assert len(set(map(frozenset, orders))) > 1  # what is dropped differs too


def test_two_scans_of_k_steps_are_one_of_2k_bit_for_bit():
    learner = make_learner('ao_sdtp')._replace(augment=crop_and_flip)
    images, hparams = make_images(70), make_hparams()
    start = random_state(learner)._replace(step=jnp.zeros((), jnp.int32))
    once, metrics = train(learner, (BOTH,), 4)(start, images, hparams)
    half = train(learner, (BOTH,), 2)
    middle, first = half(start, images, hparams)
    twice, second = half(middle, images, hparams)
    chex.assert_trees_all_equal(numpy(once), numpy(twice))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
    for name in ('loss', 'error', 'feedback_loss'):
        np.testing.assert_allclose(mean[name], metrics[name], rtol=1e-6)


def test_finite_says_whether_the_state_still_is():
    learner, images = make_learner('bp'), make_images()
    run, state = train(learner, (FORWARD,)), random_state(learner)
    assert run(state, images, make_hparams())[1]['finite']
    assert not run(state, images, make_hparams(lr=jnp.inf))[1]['finite']


PASSES = sorted({turns for passes in SCHEDULES.values() for turns in passes})
CASES = [
    *((name, (FORWARD,)) for name in ('bp', 'fa')),
    *(('dtp', turns) for turns in PASSES),
]
OTHERS = [
    ('dfa', (FORWARD,)),
    *(('ao_sdtp', turns) for turns in PASSES),
    ('sdtp', (FEEDBACK, FORWARD)),  # ao_sdtp without auxiliary units
]


@pytest.mark.parametrize(
    ('case', 'mode'),
    [
        *thinned(CASES, parallel.MODES),
        *itertools.starmap(full, itertools.product(OTHERS, parallel.MODES)),
    ],
)
def test_eight_devices_equal_one(case, mode, x64):
    """Every rule, and the target rules under every pass of every schedule."""
    name, turns = case
    learner = make_learner(name)
    state, images, hparams = random_state(learner), make_images(), make_hparams()
    expected, metrics = train(learner, turns)(state, images, hparams)
    spread = train(learner, turns, devices=DEVICES, mode=mode)(state, images, hparams)
    close(numpy(spread), numpy((expected, metrics)))
    for side in {side for sides in turns for side in sides}:
        assert_moved(state, expected, side, turns=2)


# ------------------------------------------------------------------ augmentation


def test_training_sees_augmented_images_with_their_labels_and_evaluation_does_not():
    plain, images, hparams = make_learner('bp'), make_images(), make_hparams()
    inverting = plain._replace(augment=lambda key, index, pixels: 255 - pixels)
    inverted = images._replace(image=255 - images.image)
    state = random_state(plain)
    trained = train(inverting, (FORWARD,))(state, images, hparams)
    expected = train(plain, (FORWARD,))(state, inverted, hparams)
    chex.assert_trees_all_equal(numpy(trained), numpy(expected))
    evaluated, expected = (
        jax.jit(functools.partial(evaluate, learner, BATCH))(state.weights, {}, images)
        for learner in (inverting, plain)
    )
    chex.assert_trees_all_equal(evaluated, expected)


def test_what_is_to_be_reconstructed_is_the_augmented_image():
    images = make_images()._replace(label=None)
    batch = images.at(jnp.arange(BATCH)).batch(lambda pixels: 255 - pixels)
    np.testing.assert_array_equal(batch['label'], batch['image'].reshape(BATCH, -1))
    assert (batch['image'] != images.at(jnp.arange(BATCH)).batch()['image']).any()


def bytes_of(key):
    """The eight bytes of a key."""
    return jax.lax.bitcast_convert_type(jax.random.key_data(key), jnp.uint8).reshape(8)


def test_each_step_of_each_pass_augments_by_a_key_of_its_own():
    """Images become the bytes of the key that they are augmented by; the rule adds them up.

    No rule gets it, and the order of the pass is not drawn from it.
    """

    def updates(network, weights, states, context):
        return {'forward': ({'kernel': -states[0][:1].T, 'bias': jnp.zeros(1)},), 'feedback': ()}

    def augment(key, index, pixels):
        return jnp.broadcast_to(bytes_of(key)[None], pixels.shape)

    rule = Rule(lambda key, network, forward: ((), ()), updates=updates)
    optimizers = {'forward': lambda hparams: optim.optimizer('sgd', 1.0)}
    network = feedforward((8,), (), 1)
    learner = Learner(network, rule, softmax_cross_entropy, optimizers, augment)
    images = Images(
        jnp.zeros((7, 8), jnp.uint8), jnp.zeros(7, jnp.int32), jnp.zeros(8), jnp.ones(8)
    )
    run = jax.jit(functools.partial(train_steps, learner, (FORWARD,), 2, 1))
    state, keys = init_state(learner, jax.random.key(0), {}), set()
    of_rules, of_order = set(), set()
    for _ in range(9):  # three passes
        key = jax.random.fold_in(state.key, state.step)
        of_rules |= {bytes(bytes_of(k)) for k in (key, *jax.random.split(key, 9))}
        of_rules |= {bytes(bytes_of(jax.random.fold_in(key, l))) for l in range(9)}
        of_pass = jax.random.fold_in(state.key, -1 - state.step // 3)
        of_order |= {bytes(bytes_of(k)) for k in (of_pass, *jax.random.split(of_pass, 9))}
        before = state.weights['forward'][0]['kernel']
        state, _ = run(state, images, {})
        seen = jnp.round(state.weights['forward'][0]['kernel'] - before)
        keys.add(bytes(seen.astype(jnp.uint8)))
    assert len(keys) == 9
    assert not keys & (of_rules | of_order)


def test_the_order_of_a_pass_is_drawn_from_a_key_that_no_step_gets():
    """An image is its example's number, and the rule adds it up: one example a step."""
    examples = 23

    def updates(network, weights, states, context):
        return {'forward': ({'kernel': -states[0].T, 'bias': jnp.zeros(1)},), 'feedback': ()}

    rule = Rule(lambda key, network, forward: ((), ()), updates=updates)
    optimizers = {'forward': lambda hparams: optim.optimizer('sgd', 1.0)}
    learner = Learner(feedforward((1,), (), 1), rule, softmax_cross_entropy, optimizers)
    number = jnp.arange(examples)
    images = Images(
        number[:, None].astype(jnp.uint8), jnp.zeros_like(number), jnp.zeros(1), jnp.ones(1)
    )
    run = jax.jit(functools.partial(train_steps, learner, (FORWARD,), 1, 1))
    state, seen = init_state(learner, jax.random.key(0), {}), []
    for _ in range(3 * examples):
        before = state.weights['forward'][0]['kernel']
        state, _ = run(state, images, {})
        seen.append(round(float((state.weights['forward'][0]['kernel'] - before)[0, 0])))
    orders = {tuple(seen[first : first + examples]) for first in range(0, len(seen), examples)}
    assert len(orders) == 3
    assert all(sorted(order) == list(range(examples)) for order in orders)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, jnp.arange(len(seen)))
    of_steps = jax.vmap(jax.random.permutation, (0, None))(keys, number)
    assert not orders & set(map(tuple, of_steps.tolist()))


def test_eight_devices_equal_one_on_augmented_images(x64):
    plain, turns = make_learner('dtp'), (FEEDBACK, FORWARD)
    learner = plain._replace(augment=crop_and_flip)
    state, images, hparams = random_state(learner), make_images(), make_hparams()
    expected = train(learner, turns)(state, images, hparams)
    spread = train(learner, turns, devices=DEVICES)(state, images, hparams)
    close(numpy(spread), numpy(expected))
    _, metrics = train(plain, turns)(state, images, hparams)
    assert metrics['loss'] != expected[1]['loss']


# ------------------------------------------------------------------ evaluation


def numpy_losses(weights, image, label):
    """(cross-entropy, mistake) per example."""
    *hidden, last = numpy(weights['forward'])
    h = image.reshape(len(image), -1)
    for params in hidden:
        h = np.tanh(h @ params['kernel'] + params['bias'])
    logits = h @ last['kernel'] + last['bias']
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(label)), label]
    return losses, logits.argmax(-1) != label


@pytest.mark.parametrize(
    ('devices', 'mode'), [(1, 'pmap'), (DEVICES, 'pmap'), (DEVICES, 'shard_map')]
)
@pytest.mark.parametrize(('examples', 'batch_size'), [(37, 16), (37, 12), (5, 16)])
def test_evaluation_counts_every_example_once(examples, batch_size, devices, mode, x64):
    learner, images = make_learner('bp'), make_images(examples)
    weights = random_state(learner).weights
    function = functools.partial(evaluate, learner, batch_size)
    team = replicas(devices, mode)
    weights, images = team.place((weights, images))
    run = team.spread(function, (weights, {}, images))
    image, label = (np.asarray(images.image, float) - 100) / 50, np.asarray(images.label)
    losses, mistakes = numpy_losses(weights, image, label)
    close(run(weights, {}, images), {'loss': losses.sum(), 'mistake': float(mistakes.sum())})


@pytest.mark.parametrize(('batch_size', 'devices'), [(37, 1), (5, 1), (16, DEVICES)])
def test_what_inference_draws_follows_from_the_place_in_the_set_alone(batch_size, devices, x64):
    """However the set is divided, its loss is that of one draw for each place."""

    def infer(network, weights, context):
        states = network.states(weights['forward'], context.batch['image'])
        return (*states[:-1], context.noise(1, states[-1]))

    learner, images = make_learner('bp'), make_images()
    learner = learner._replace(rule=learner.rule._replace(infer=infer))
    team, weights = replicas(devices), random_state(learner).weights
    weights, images = team.place((weights, images))
    run = team.spread(functools.partial(evaluate, learner, batch_size), (weights, {}, images))
    key = jax.random.fold_in(jax.random.key(SEED), 1)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images.label)))
    logits = jax.vmap(lambda key: jax.random.normal(key, (CLASSES,)))(keys)
    expected = softmax_cross_entropy.value(logits, np.asarray(images.label)).sum()
    np.testing.assert_allclose(run(weights, {}, images)['loss'], expected, rtol=1e-10)


def test_a_member_of_a_population_equals_the_run_alone(x64, quick):
    """vmap over states and hyperparameters, with the same data: what a population will do."""
    learner, images = make_learner('ao_sdtp'), make_images()
    turns = ((('forward', 'feedback')),)
    settings = [make_hparams() | {'lr': jnp.asarray(lr)} for lr in (0.01, 0.03, 0.1)]
    states = [
        init_state(learner, jax.random.key(seed), hparams) for seed, hparams in enumerate(settings)
    ]

    def run(state, hparams):
        return train_steps(learner, turns, BATCH, 2, state, images, hparams)

    def stack(*leaves):
        return jnp.stack(leaves)

    together, _ = jax.jit(jax.vmap(run))(
        jax.tree.map(stack, *states), jax.tree.map(stack, *settings)
    )
    for member, (state, hparams) in enumerate(zip(states, settings, strict=True)):
        alone, _ = jax.jit(run)(state, hparams)
        close(jax.tree.map(lambda leaf, m=member: leaf[m], together.weights), alone.weights)


# ------------------------------------------------------------------ the state


def test_a_step_leaves_the_state_that_it_is_given_as_it_is():
    """Not compiled too, where a dictionary is the caller's own."""
    learner = make_learner('bp', hidden=())
    state = random_state(learner)
    before = numpy(jax.tree.map(lambda x: x, state))
    after, _ = train_step(learner, (FORWARD,), state, make_batch(), make_hparams())
    chex.assert_trees_all_equal(numpy(state), before)
    assert_moved(state, after, 'forward')


def test_the_first_weights_are_drawn_from_a_key_that_no_step_gets():
    learner = make_learner('fa')
    state = init_state(learner, jax.random.key(0), make_hparams())
    first = jax.tree.leaves(state.weights)
    for key in (state.key, *(jax.random.fold_in(state.key, number) for number in range(3))):
        other = jax.tree.leaves(init_weights(key, learner.network, learner.rule))
        assert all((a != b).any() for a, b in zip(first, other, strict=True) if a.any())


def test_of_an_autoencoder_the_loss_alone_is_summed_and_averaged(x64):
    """It makes no mistakes; in training and in evaluation, what is compared is the input."""
    network = feedforward(IN_SHAPE, (5,), math.prod(IN_SHAPE))
    learner = make_learner('bp')._replace(network=network, loss=reconstruction)
    images, state = make_images(BATCH)._replace(label=None), random_state(learner)
    batch = images.batch()
    logits = network.states(state.weights['forward'], batch['image'])[-1]
    losses = reconstruction.value(logits, batch['image'].reshape(BATCH, -1))
    found = jax.jit(functools.partial(evaluate, learner, 12))(state.weights, {}, images)
    close(found, {'loss': jnp.sum(losses)})
    _, metrics = train_batch(learner, (FORWARD,), state, make_hparams(), images)
    close(metrics, {'loss': jnp.mean(losses)})
