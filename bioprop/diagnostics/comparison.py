"""Two vectors, as far as their angle and their lengths go."""

import functools
import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Comparison(NamedTuple):
    """Vectors u and v of each example, (examples,) each: all that their angle follows from.

    Kahan's formula takes the angle from the difference and the sum of the unit vectors, and is as
    accurate near 0 and 180 degrees as elsewhere. Those of longer vectors follow from their parts'.
    """

    u: jax.Array  # length
    v: jax.Array
    apart: jax.Array  # ||u/|u| - v/|v|||^2
    along: jax.Array  # ||u/|u| + v/|v|||^2

    @property
    def angle(self) -> jax.Array:
        """In degrees; 90 with a vector of length 0."""
        angle = jnp.rad2deg(2 * jnp.arctan2(jnp.sqrt(self.apart), jnp.sqrt(self.along)))
        return jnp.where((self.u > 0) & (self.v > 0), angle, 90)

    @property
    def ratio(self) -> jax.Array:
        """|u| / |v|"""
        return self.u / self.v


def compare(u: jax.Array, v: jax.Array) -> Comparison:
    """Of arrays (examples, ...)."""
    (unit_u, u), (unit_v, v) = _unit(u), _unit(v)
    return Comparison(u, v, squares(unit_u - unit_v), squares(unit_u + unit_v))


def compare_whole(u: Any, v: Any) -> Comparison:
    """Of all entries of two trees of arrays: scalars."""
    pairs = zip(jax.tree.leaves(u), jax.tree.leaves(v), strict=True)
    found = together(compare(x[None], y[None]) for x, y in pairs)
    return jax.tree.map(lambda x: x[0], found)


def together(parts: Iterable[Comparison]) -> Comparison:
    """Of the vectors that the parts make up, one after another."""
    parts = list(parts)
    u, v = (_length([part[place] for part in parts]) for place in (0, 1))
    apart, along = jnp.zeros_like(u), jnp.zeros_like(u)
    for part in parts:
        a, b = part.u / _or_one(u), part.v / _or_one(v)
        # ||a x - b y||^2 = (a - b)^2 + a b ||x - y||^2 for unit vectors x and y
        apart += jnp.square(a - b) + a * b * part.apart
        along += jnp.square(a - b) + a * b * part.along
    return Comparison(u, v, apart, along)


def by_layer(parts: dict[int, Comparison]) -> dict[str, Comparison]:
    """{l: part} as {'layer_l': part, ..., 'total': all of them together}."""
    named = {f'layer_{l}': part for l, part in parts.items()}
    return named | {'total': together(parts.values())}


def squares(x: jax.Array) -> jax.Array:
    """||x||^2 of each example: (examples, ...) -> (examples,)."""
    return jnp.sum(jnp.square(x), axis=range(1, x.ndim))


def _unit(x):
    """(x / |x|, |x|) of each example, for vectors of any size; those of length 0 stay."""
    largest = jnp.max(jnp.abs(x), axis=range(1, x.ndim))
    scaled = _divided(x, _or_one(largest))
    length = jnp.sqrt(squares(scaled))
    return _divided(scaled, _or_one(length)), largest * length


def _length(lengths):
    largest = functools.reduce(jnp.maximum, lengths)
    shares = [jnp.square(length / _or_one(largest)) for length in lengths]
    return largest * jnp.sqrt(functools.reduce(operator.add, shares))


def _or_one(x):
    return jnp.where(x > 0, x, 1)


def _divided(x, sizes):
    return x / sizes.reshape(-1, *[1] * (x.ndim - 1))
