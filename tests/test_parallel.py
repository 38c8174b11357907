"""Batches from outside, on one device and on many, in parts, in another precision."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners import make_hparams, make_images, make_learner, random_state, replicas
from problems import numpy, thinned

from bioprop.losses import LOSSES, softmax_cross_entropy
from bioprop.training import parallel
from bioprop.training.evaluation import evaluate_batch
from bioprop.training.precision import cast, widened
from bioprop.training.schedules import FEEDBACK, FORWARD
from bioprop.training.step import mean_updates, train_batch, train_step

pytestmark = pytest.mark.usefixtures('quick')
DEVICES, BATCH = 8, 16
BOTH_IN_TURN = (FEEDBACK, FORWARD)
HALVES = ['bp', 'fa', 'dfa', 'dtp', 'sdtp', 'ao_sdtp']  # those that take bfloat16
RULES = [*HALVES, 'equilibrium_propagation']
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)


def turns_of(learner):
    return BOTH_IN_TURN if 'feedback' in learner.optimizers else (FORWARD,)


def two_batches(learner, state, devices=1, mode='pmap'):
    """Two minibatches from outside; returns the state and the metrics of the second."""
    team, images, hparams = replicas(devices, mode), make_images(2 * BATCH), make_hparams()

    def function(state, hparams, image, label, axis_name=None):
        part = images._replace(image=image, label=label)
        return train_batch(learner, turns_of(learner), state, hparams, part, axis_name)

    state, hparams = team.place((state, hparams))
    for first in (0, BATCH):
        batch = team.divide(
            tuple(np.asarray(x[first : first + BATCH]) for x in (images.image, images.label))
        )
        run = team.spread(function, (state, hparams, *batch), divided=2)
        state, metrics = run(state, hparams, *batch)
    return state, metrics


@pytest.mark.parametrize('name', RULES)
def test_a_batch_from_outside_trains_like_one_from_the_device(name, x64):
    learner, images = make_learner(name), make_images(BATCH)
    state = random_state(learner)
    batch = images.batch() | {'index': jnp.arange(BATCH)}
    expected = train_step(learner, turns_of(learner), state, batch, make_hparams())
    got = train_batch(learner, turns_of(learner), state, make_hparams(), images)
    close(numpy(got), numpy(expected))


@pytest.mark.parametrize(('name', 'mode'), thinned(RULES, parallel.MODES))
def test_eight_devices_equal_one_on_batches_from_outside(name, mode, x64):
    learner = make_learner(name)
    state = random_state(learner)
    close(numpy(two_batches(learner, state, DEVICES, mode)), numpy(two_batches(learner, state)))


@pytest.mark.parametrize(('name', 'divided'), thinned(RULES, [(1, 2), (2, 4)]))
def test_a_batch_in_parts_equals_it_as_a_whole(name, divided, x64):
    devices, parts = divided
    learner = make_learner(name)
    state = random_state(learner)
    in_parts = learner._replace(accumulate=parts)
    close(numpy(two_batches(in_parts, state, devices)), numpy(two_batches(learner, state)))


def test_a_part_of_a_batch_is_all_that_is_alive_at_once():
    """The temporaries of a step whose activations outweigh its weights."""
    whole = make_learner('bp', hidden=(8,) * 6)
    images, hparams = make_images(4096), make_hparams()
    state = random_state(whole)

    def temporaries(learner):
        function = functools.partial(train_batch, learner, (FORWARD,))
        compiled = jax.jit(function).lower(state, hparams, images).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    once = temporaries(whole)
    assert temporaries(whole._replace(accumulate=2)) < 0.8 * once
    assert temporaries(whole._replace(accumulate=16)) < 0.5 * once


@pytest.mark.parametrize('name', HALVES)
def test_bfloat16_updates_are_those_of_float32_within_its_rounding(name):
    learner, images, hparams = make_learner(name), make_images(BATCH), make_hparams()
    weights = random_state(learner).weights
    batch = images.batch() | {'index': jnp.arange(BATCH)}
    sides = tuple(learner.optimizers)

    def updates(learner):
        found, metrics = mean_updates(
            learner, sides, weights, batch, jax.random.key(0), hparams | {'sigma': jnp.zeros(())}
        )
        return found, metrics

    exact, metrics = updates(learner)
    half, half_metrics = updates(learner._replace(precision='bfloat16'))
    for a, b in zip(jax.tree.leaves(half), jax.tree.leaves(exact), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        if np.any(b):
            cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
            assert cosine > 0.99
            assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=0.1)
            assert not np.array_equal(a, b)
    assert float(half_metrics['loss']) == pytest.approx(float(metrics['loss']), rel=0.03)


@pytest.mark.parametrize('loss', LOSSES)
def test_losses_of_bfloat16_logits_are_computed_in_float32(loss):
    loss = LOSSES[loss]
    logits = jax.random.normal(jax.random.key(0), (5, 7), jnp.bfloat16)
    labels = cast(jax.nn.sigmoid(logits), 'bfloat16') if loss.reconstructs else jnp.arange(5)
    wide = widened(loss, 'bfloat16')
    logits32 = logits.astype(jnp.float32)
    labels32 = labels.astype(jnp.float32) if loss.reconstructs else labels
    np.testing.assert_array_equal(wide.value(logits, labels), loss.value(logits32, labels32))
    assert wide.value(logits, labels).dtype == jnp.float32
    error = wide.error(logits, labels)
    assert error.dtype == jnp.bfloat16
    np.testing.assert_array_equal(error, loss.error(logits32, labels32).astype(jnp.bfloat16))


@pytest.mark.parametrize(('devices', 'mode'), [(1, 'pmap'), (8, 'pmap'), (8, 'shard_map')])
def test_evaluation_of_a_batch_leaves_out_what_is_not_valid(devices, mode, x64):
    learner, images = make_learner('bp'), make_images(BATCH)
    weights, team = random_state(learner).weights, replicas(devices, mode)
    valid = np.arange(BATCH) % 3 > 0

    def function(weights, image, label, valid, axis_name=None):
        part = images._replace(image=image, label=label)
        return evaluate_batch(learner, weights, {}, 0, part, valid, axis_name)

    arguments = (
        team.place(weights),
        *team.divide((np.asarray(images.image), np.asarray(images.label), valid)),
    )
    sums = team.spread(function, arguments, divided=3)(*arguments)
    batch = images.at(jnp.flatnonzero(valid)).batch()
    logits = learner.network.states(weights['forward'], batch['image'])[-1]
    close(
        numpy(sums),
        {
            'loss': np.asarray(softmax_cross_entropy.value(logits, batch['label']).sum()),
            'mistake': np.asarray(softmax_cross_entropy.mistake(logits, batch['label']).sum()),
            'count': valid.sum(),
        },
    )


@pytest.mark.parametrize(('devices', 'mode'), [(1, 'pmap'), (8, 'pmap'), (8, 'shard_map')])
def test_inference_is_told_the_places_of_a_batch_in_its_set(devices, mode, x64):
    """Logits that say the place: the summed loss is that of the places, which start at `first`."""

    def infer(network, weights, context):
        place = jnp.outer(context.batch['index'] / 10, jnp.array([1.0, 0, 0, 0]))
        return (*network.states(weights['forward'], context.batch['image'])[:-1], place)

    learner, images, first = make_learner('bp'), make_images(BATCH), 24
    learner = learner._replace(rule=learner.rule._replace(infer=infer))
    weights, team = random_state(learner).weights, replicas(devices, mode)

    def function(weights, image, label, valid, axis_name=None):
        part = images._replace(image=image, label=label)
        return evaluate_batch(learner, weights, {}, first, part, valid, axis_name)

    label = np.asarray(images.label)
    arguments = (
        team.place(weights),
        *team.divide((np.asarray(images.image), label, np.ones(BATCH, bool))),
    )
    sums = numpy(team.spread(function, arguments, divided=3)(*arguments))
    logits = np.zeros((BATCH, 4))
    logits[:, 0] = np.arange(first, first + BATCH) / 10
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(BATCH), label]
    assert sums['loss'] == pytest.approx(expected.sum(), rel=1e-10)
