"""The type that a step computes in; weights, optimisers and losses keep a wider one."""

from typing import Any

import jax
import jax.numpy as jnp

from bioprop.losses import Loss

WEIGHTS = 'float32'  # the precision in which nothing is cast
PRECISIONS = (WEIGHTS, 'bfloat16')


def cast(tree: Any, precision: str) -> Any:
    """The floating-point arrays of a tree in that precision."""
    return tree if precision == WEIGHTS else _as(tree, jnp.dtype(precision))


def _as(tree: Any, kind: jnp.dtype) -> Any:
    return jax.tree.map(
        lambda x: x.astype(kind) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def widened(loss: Loss, precision: str) -> Loss:
    """The loss computed in float32; what goes back into the net has the type of the logits."""
    if precision == WEIGHTS:
        return loss

    def wide(function):
        return function and (lambda *arguments: function(*_as(arguments, jnp.float32)))

    def narrow(function):
        return lambda logits, *labels: wide(function)(logits, *labels).astype(logits.dtype)

    return loss._replace(
        value=wide(loss.value),
        error=narrow(loss.error),
        output=narrow(loss.output),
        optimum=narrow(loss.optimum),
        mistake=wide(loss.mistake),
    )
