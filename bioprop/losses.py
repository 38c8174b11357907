"""Losses: what a learning rule needs to know of the task.

Gradient rules work at the logits (`error`), target rules on the outputs (`output`, `optimum`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class Loss(NamedTuple):
    """Pure functions of the logits (batch, outputs) and of the labels."""

    value: Callable[[jax.Array, jax.Array], jax.Array]  # (logits, labels) -> (batch,)
    error: Callable[[jax.Array, jax.Array], jax.Array]  # d value / d logits, per example
    output: Callable[[jax.Array], jax.Array]  # logits -> what the network says
    optimum: Callable[[jax.Array, jax.Array], jax.Array]  # (logits, labels) -> best output
    # (logits, labels, v) -> H v, per example: the Gauss-Newton curvature at the logits, H >= 0
    curvature: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    mistake: Callable[[jax.Array, jax.Array], jax.Array] | None = None  # 0 or 1 per example
    reconstructs: bool = False  # whether the labels are the inputs themselves


def _one_hot(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def _softmax_curvature(logits: jax.Array, labels: jax.Array, v: jax.Array) -> jax.Array:
    output = jax.nn.softmax(logits)
    return output * (v - jnp.sum(output * v, axis=-1, keepdims=True))


def _mistake(logits: jax.Array, labels: jax.Array) -> jax.Array:
    said = jnp.argmax(logits, axis=-1).astype(labels.dtype)
    return (said != labels).astype(logits.dtype)


softmax_cross_entropy = Loss(
    value=optax.softmax_cross_entropy_with_integer_labels,
    error=lambda logits, labels: jax.nn.softmax(logits) - _one_hot(logits, labels),
    output=jax.nn.softmax,
    optimum=_one_hot,
    curvature=_softmax_curvature,
    mistake=_mistake,
)


def _reconstruction(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(jax.nn.sigmoid(logits) - labels), axis=-1)


def _reconstruction_slope(logits: jax.Array, labels: jax.Array) -> jax.Array:
    output = jax.nn.sigmoid(logits)
    return 2 * (output - labels) * output * (1 - output)


def _reconstruction_curvature(logits: jax.Array, labels: jax.Array, v: jax.Array) -> jax.Array:
    output = jax.nn.sigmoid(logits)
    return 2 * jnp.square(output * (1 - output)) * v


# The autoencoder of the paper's appendix: labels are the pixels (batch, outputs) in [0, 1].
reconstruction = Loss(
    value=_reconstruction,
    error=_reconstruction_slope,
    output=jax.nn.sigmoid,
    optimum=lambda logits, labels: labels,
    curvature=_reconstruction_curvature,
    reconstructs=True,
)

# Half the squared distance of the outputs themselves to the one-hot label.
squared_error = Loss(
    value=lambda logits, labels: (
        jnp.sum(jnp.square(logits - _one_hot(logits, labels)), axis=-1) / 2
    ),
    error=lambda logits, labels: logits - _one_hot(logits, labels),
    output=lambda logits: logits,
    optimum=_one_hot,
    curvature=lambda logits, labels, v: v,
    mistake=_mistake,
)

LOSSES = {
    'softmax_cross_entropy': softmax_cross_entropy,
    'squared_error': squared_error,
    'reconstruction': reconstruction,
}
