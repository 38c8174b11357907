"""What a rule may ask for behind the optimiser of a side: transformations of its steps.

Each is an optax.GradientTransformation of what is added to the weights.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def of_kernels(change: Callable[[jax.Array, jax.Array], jax.Array]) -> optax.GradientTransformation:
    """change(step, kernel) of every kernel; biases keep their steps."""

    def update(steps: Any, params: Any) -> Any:
        def one(path, step, param):
            return change(step, param) if path[-1].key == 'kernel' else step

        return jax.tree.map_with_path(one, steps, params)

    return optax.stateless(update)


def scaled(factor: jax.Array | float) -> optax.GradientTransformation:
    """All steps times the factor: a rate of its own."""
    return optax.scale(factor)


def of_hidden(factor: jax.Array | float) -> optax.GradientTransformation:
    """Steps of the layers below the top times the factor."""

    def update(steps: Any, params: Any) -> Any:
        *hidden, top = steps
        return (*jax.tree.map(lambda step: factor * step, tuple(hidden)), top)

    return optax.stateless(update)


def orthogonal(strength: jax.Array | float) -> optax.GradientTransformation:
    """A step more for square kernels, down the gradient of strength / 4 |K^T K - I|^2.

    Its places, where a kernel has any, are each taken alone. They come to be orthogonal; a kernel
    that is not square is left to the optimiser, since the constraint costs it what it could learn.
    """

    def change(step, kernel):
        if kernel.shape[-2] != kernel.shape[-1]:
            return step
        gram = kernel.mT @ kernel
        identity = jnp.eye(gram.shape[-1], dtype=kernel.dtype)
        return step - strength * kernel @ (gram - jnp.broadcast_to(identity, gram.shape))

    return of_kernels(change)


def keeping_signs() -> optax.GradientTransformation:
    """No entry of a kernel crosses 0: one that would is stopped there."""
    return of_kernels(lambda step, kernel: jnp.where((kernel + step) * kernel < 0, -kernel, step))
