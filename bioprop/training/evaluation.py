"""Scores: sums over a set of images, or over a batch of it."""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Weights
from bioprop.training.images import Images
from bioprop.training.learner import Learner
from bioprop.training.parallel import place_on
from bioprop.training.precision import cast, widened


def evaluate(
    learner: Learner,
    batch_size: int,
    weights: Weights,
    images: Images,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Sums of the 'loss' and 'mistake' over the set; every example counts exactly once."""
    examples = len(images.image)
    devices, device = place_on(axis_name)
    share = -(-batch_size // devices)

    def body(totals, first):
        places = first + device * share + jnp.arange(share)
        part = images.at(jnp.minimum(places, examples - 1))
        return jax.tree.map(jnp.add, totals, _sums(learner, weights, part, places < examples)), None

    names = ('loss', 'mistake') if learner.loss.mistake else ('loss',)
    zeros = {name: jnp.zeros((), images.mean.dtype) for name in names}
    totals, _ = jax.lax.scan(body, zeros, jnp.arange(0, examples, share * devices))
    return jax.lax.psum(totals, axis_name) if axis_name else totals


def evaluate_batch(
    learner: Learner,
    weights: Weights,
    images: Images,
    valid: jax.Array,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Sums of the 'loss' and 'mistake' over the valid ones of a batch, and their 'count'.

    images and valid, (examples,), are this device's share.
    """
    sums = _sums(learner, weights, images, valid) | {'count': jnp.sum(valid)}
    return jax.lax.psum(sums, axis_name) if axis_name else sums


def _sums(learner, weights, images, counted):
    loss = widened(learner.loss, learner.precision)
    forward, batch = cast((weights['forward'], images.batch()), learner.precision)
    logits = learner.network.states(forward, batch['image'])[-1]
    values = {'loss': loss.value(logits, batch['label'])}
    if loss.mistake:
        values['mistake'] = loss.mistake(logits, batch['label'])
    return {name: jnp.sum(jnp.where(counted, value, 0)) for name, value in values.items()}
