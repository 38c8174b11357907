"""Minibatches in one scan: what a pass over images on the device is made of."""

import functools

import jax
import jax.numpy as jnp

from bioprop.training.diagnosis import diagnose
from bioprop.training.images import Images
from bioprop.training.learner import Hparams, Learner, TrainState, finite
from bioprop.training.parallel import place_on
from bioprop.training.step import train_step


def train_steps(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    batch_size: int,
    steps: int,
    state: TrainState,
    images: Images,
    hparams: Hparams,
    axis_name: str | None = None,
    lead: int = 0,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """`steps` minibatches of the current pass, in one scan.

    Returns the state, the mean of the metrics, and in 'finite' whether the state still is. Where
    the learner has a diagnosis, 'measured' holds its numbers, (times,) each: of the minibatches
    lead, lead + every, ... before they are trained on.

    The pass and the place in it follow from state.step alone. Each pass has its own order and its
    own augmentation, and drops the remainder of the set. With an axis_name every device takes its
    share of each batch.
    """
    examples = len(images.image)
    steps_per_pass = examples // batch_size
    number, first = jnp.divmod(state.step, steps_per_pass)
    key = jax.random.fold_in(state.key, -1 - number)  # of the pass; rules get those of the steps
    order = jax.random.permutation(key, examples)
    places = jax.lax.dynamic_slice_in_dim(order, first * batch_size, steps * batch_size)
    devices, device = place_on(axis_name)
    index = device * (batch_size // devices) + jnp.arange(batch_size // devices)

    def batch_at(state, places):
        augment = learner.augment and functools.partial(
            learner.augment, jax.random.fold_in(key, -1 - state.step), index
        )
        return images.at(places[index]).batch(augment) | {'index': index}

    def body(state, places):
        batch = batch_at(state, places)
        return train_step(learner, turns, state, batch, hparams, axis_name)

    def measure(state, places):
        return diagnose(learner, state, batch_at(state, places), hparams, axis_name)

    places = places.reshape(steps, batch_size)
    if learner.diagnosis:
        every = learner.diagnosis.every
        state, metrics, measured = _scan_and_measure(body, measure, state, places, lead, every)
    else:
        state, metrics = jax.lax.scan(body, state, places)
        measured = {}
    return state, jax.tree.map(jnp.mean, metrics) | {'finite': finite(state)} | measured


def _scan_and_measure(body, measure, state, places, lead, every):
    """A scan of body over places, and measure before those at lead, lead + every, ...

    lead is at most all steps. Returns (state, metrics, {'measured': numbers}); {} where there are
    none.
    """

    def run(state, places):
        numbers = measure(state, places[0])
        state, metrics = jax.lax.scan(body, state, _once_known(numbers, places))
        return state, (metrics, numbers)

    found, measured, steps = [], [], len(places)
    whole, rest = divmod(steps - lead, every)
    if lead:
        state, metrics = jax.lax.scan(body, state, places[:lead])
        found.append(metrics)
    if whole:
        runs = places[lead : steps - rest].reshape(whole, every, -1)
        state, (metrics, numbers) = jax.lax.scan(run, state, runs)
        found.append(jax.tree.map(jnp.ravel, metrics))
        measured.append(numbers)
    if rest:
        state, (metrics, numbers) = run(state, places[steps - rest :])
        found.append(metrics)
        measured.append(jax.tree.map(lambda x: x[None], numbers))
    metrics = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    if not measured:
        return state, metrics, {}
    return state, metrics, {'measured': jax.tree.map(lambda *p: jnp.concatenate(p), *measured)}


def _once_known(numbers, places):
    """The places, which depend on every one of the numbers.

    A scan that could begin before the last look at the weights would work on a copy of them.
    """
    total = sum(jax.tree.leaves(numbers), jnp.zeros(()))
    never = jnp.isnan(total) & jnp.isinf(total)
    return places + never.astype(places.dtype)
