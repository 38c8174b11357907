"""One minibatch of training, a pure function of the state, for one device or many.

A step is written for one device: with an `axis_name` it sees its share of the batch and averages
over the axis, whatever wraps it (pmap, shard_map, vmap).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bioprop.objective import objective
from bioprop.rules.base import Weights
from bioprop.training.images import Images, numbered
from bioprop.training.learner import Hparams, Learner, TrainState
from bioprop.training.precision import cast, widened


def train_step(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    state: TrainState,
    batch: dict[str, jax.Array],
    hparams: Hparams,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One minibatch: each turn updates its sides and leaves the other side's state untouched.

    Every turn of the feedback weights draws noise of its own.

    Returns the state and the metrics of the batch: 'loss', 'error' (percent) and 'feedback_loss',
    where the learner has them.
    """
    key = jax.random.fold_in(state.key, state.step)
    weights, optimizer = dict(state.weights), dict(state.optimizer)
    metrics = {}
    for place, sides in enumerate(turns):
        earlier = sum('feedback' in turn for turn in turns[:place])
        again = earlier and 'feedback' in sides
        own = jax.random.fold_in(key, earlier) if again else key
        updates, values = mean_updates(learner, sides, weights, batch, own, hparams)
        metrics |= values
        if axis_name:
            updates = jax.lax.pmean(updates, axis_name)
        for side in sides:
            direction, optimizer[side] = learner.optimizers[side](hparams).update(
                updates[side], optimizer[side], weights[side]
            )
            weights[side] = optax.apply_updates(weights[side], direction)
    if axis_name:
        metrics = jax.lax.pmean(metrics, axis_name)
    return TrainState(state.step + 1, state.key, weights, optimizer), metrics


def mean_updates(
    learner: Learner,
    sides: tuple[str, ...],
    weights: Weights,
    batch: dict[str, jax.Array],
    key: jax.Array,
    hparams: Hparams,
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """The rule's updates of the sides, and the metrics, averaged over the batch.

    With learner.accumulate above 1 parts of the batch are taken one after another.
    """
    if learner.accumulate == 1:
        return _updates(learner, sides, weights, batch, key, hparams)
    parts = jax.tree.map(
        lambda x: x.reshape(learner.accumulate, len(x) // learner.accumulate, *x.shape[1:]), batch
    )
    one = functools.partial(_updates, learner, sides, weights, key=key, hparams=hparams)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(one, jax.tree.map(lambda x: x[0], parts)),
    )
    totals, _ = jax.lax.scan(
        lambda totals, part: (jax.tree.map(jnp.add, totals, one(part)), None), zeros, parts
    )
    return jax.tree.map(lambda total: total / learner.accumulate, totals)


def _updates(learner, sides, weights, batch, key, hparams):
    loss = widened(learner.loss, learner.precision)
    f = objective(learner.network, learner.rule, loss)
    whole, batch, hparams = cast((weights, batch, hparams), learner.precision)

    def trained(part):
        return f(whole | cast(part, learner.precision), batch, key, hparams)

    (value, aux), updates = jax.value_and_grad(trained, has_aux=True)(
        {side: weights[side] for side in sides}
    )
    metrics = {}
    if 'forward' in sides:
        metrics['loss'] = value
        if loss.mistake:
            metrics['error'] = 100 * jnp.mean(loss.mistake(aux['logits'], batch['label']))
    if 'feedback' in sides and 'feedback_loss' in aux:
        metrics['feedback_loss'] = jnp.asarray(aux['feedback_loss'], value.dtype)
    return updates, metrics


def train_batch(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    state: TrainState,
    hparams: Hparams,
    images: Images,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """A minibatch that comes from outside: `images` are this device's share of it."""
    batch = numbered(images, axis_name)
    return train_step(learner, turns, state, batch, hparams, axis_name)
