"""What a rule tends to, as one of its numbers tends to zero."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


def order_of(errors: Sequence[float], parameters: Sequence[float]) -> float:
    """The power p of errors ~ parameters^p, by least squares of their logarithms."""
    return float(np.polyfit(np.log(parameters), np.log(errors), 1)[0])


def limit(function: Callable[[float], Any], start: float, step: int = 1, terms: int = 6) -> Any:
    """The tree of arrays that function(x) tends to as x goes to 0, by Richardson's extrapolation.

    The function is called at start, start / 2, ..., terms of them. Its error has the powers
    x^step, x^(2 step), ...: step is 2 for a symmetric difference.
    """
    found = [function(start / 2**place) for place in range(terms)]
    for power in range(1, terms):
        without = functools.partial(_without_power, 2.0 ** (step * power))
        found = [jax.tree.map(without, *pair) for pair in itertools.pairwise(found)]
    return found[0]


def _without_power(ratio: float, far: jax.Array, near: jax.Array) -> jax.Array:
    """What two values leave, whose errors of one power are as ratio to 1."""
    return (ratio * near - far) / (ratio - 1)
