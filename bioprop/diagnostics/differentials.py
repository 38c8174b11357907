"""Derivatives in a direction, for functions that are differentiated in reverse alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def jvp(function: Callable, x: Any) -> Callable[[Any], Any]:
    """v -> J v at x: the pullback of the pullback.

    Layers have derivatives of their own, which JAX follows in reverse alone, to any order.
    """
    y, pullback = jax.vjp(function, x)
    zeros = jax.tree.map(jnp.zeros_like, y)
    _, push = jax.vjp(lambda u: pullback(u)[0], zeros)
    return lambda v: push(v)[0]
