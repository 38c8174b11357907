"""Scores: sums over a set of images, or over a batch of it.

What inference draws at random follows from an image's place in its set alone, so that an
evaluation gives the same numbers again, on any number of devices.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Context, Weights, infer
from bioprop.training.images import Images
from bioprop.training.learner import Hparams, Learner
from bioprop.training.parallel import place_on
from bioprop.training.precision import cast, widened

SEED = 0  # of what inference draws


def evaluate(
    learner: Learner,
    batch_size: int,
    weights: Weights,
    hparams: Hparams,
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
        sums = _sums(learner, weights, hparams, part, places, places < examples)
        return jax.tree.map(jnp.add, totals, sums), None

    names = ('loss', 'mistake') if learner.loss.mistake else ('loss',)
    zeros = {name: jnp.zeros((), images.mean.dtype) for name in names}
    totals, _ = jax.lax.scan(body, zeros, jnp.arange(0, examples, share * devices))
    return jax.lax.psum(totals, axis_name) if axis_name else totals


def evaluate_batch(
    learner: Learner,
    weights: Weights,
    hparams: Hparams,
    first: jax.Array,
    images: Images,
    valid: jax.Array,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Sums of the 'loss' and 'mistake' over the valid ones of a batch, and their 'count'.

    first is the place of the batch in its set; images and valid, (examples,), are this device's
    share.
    """
    _, device = place_on(axis_name)
    share = len(images.image)
    places = first + device * share + jnp.arange(share)
    sums = _sums(learner, weights, hparams, images, places, valid) | {'count': jnp.sum(valid)}
    return jax.lax.psum(sums, axis_name) if axis_name else sums


def predict(
    learner: Learner, weights: Weights, hparams: Hparams, inputs: jax.Array, places: jax.Array
) -> jax.Array:
    """The logits of inputs, (examples, outputs), which stand at these places of their set."""
    batch = {'image': inputs, 'index': places}
    weights, batch, hparams = cast((weights, batch, hparams), learner.precision)
    context = Context(learner.loss, batch, jax.random.key(SEED), hparams)
    return infer(learner.network, learner.rule, weights, context)[-1]


def _sums(learner, weights, hparams, images, places, counted):
    loss = widened(learner.loss, learner.precision)
    batch = images.batch()
    label = cast(batch['label'], learner.precision)
    logits = predict(learner, weights, hparams, batch['image'], places)
    values = {'loss': loss.value(logits, label)}
    if loss.mistake:
        values['mistake'] = loss.mistake(logits, label)
    return {name: jnp.sum(jnp.where(counted, value, 0)) for name, value in values.items()}
