"""Two vectors, as far as their angle and their lengths go."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

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


def compare_whole(u: jax.Array, v: jax.Array) -> Comparison:
    """Of all entries of two arrays: scalars."""
    return jax.tree.map(lambda x: x[0], compare(u[None], v[None]))


def together(parts: Iterable[Comparison]) -> Comparison:
    """Of the vectors that the parts make up, one after another."""
    parts = _stack(parts)
    u, v = _length(parts.u), _length(parts.v)
    a, b = parts.u / _or_one(u)[None], parts.v / _or_one(v)[None]
    # ||a x - b y||^2 = (a - b)^2 + a b ||x - y||^2 for unit vectors x and y
    apart, along = (jnp.square(a - b) + a * b * each for each in (parts.apart, parts.along))
    return Comparison(u, v, jnp.sum(apart, axis=0), jnp.sum(along, axis=0))


def table(
    parts: Mapping[str, Comparison], totals: Mapping[str, str] | None = None
) -> tuple[list[str], Comparison]:
    """The names of the places, and the comparisons there, (places, ...) each.

    `totals` adds, under the name of each, all parts together whose names begin with its value; by
    default 'total' is of all parts.
    """
    rows = dict(parts)
    for name, beginning in (totals or {'total': ''}).items():
        rows[name] = together(part for place, part in parts.items() if place.startswith(beginning))
    return list(rows), _stack(rows.values())


def by_layer(parts: Mapping[int, Comparison]) -> tuple[list[str], Comparison]:
    """The table of 'layer_l' for every l, and of 'total'."""
    return table({f'layer_{l}': part for l, part in parts.items()})


def squares(x: jax.Array) -> jax.Array:
    """||x||^2 of each example: (examples, ...) -> (examples,)."""
    return jnp.sum(jnp.square(x), axis=range(1, x.ndim))


def _unit(x):
    """(x / |x|, |x|) of each example, for vectors of any size; those of length 0 stay."""
    largest = jnp.max(jnp.abs(x), axis=range(1, x.ndim))
    scaled = _divided(x, _or_one(largest))
    length = jnp.sqrt(squares(scaled))
    return _divided(scaled, _or_one(length)), largest * length


def _stack(parts):
    return jax.tree.map(lambda *each: jnp.stack(each), *parts)


def _length(lengths):
    largest = jnp.max(lengths, axis=0)
    shares = jnp.square(lengths / _or_one(largest)[None])
    return largest * jnp.sqrt(jnp.sum(shares, axis=0))


def _or_one(x):
    return jnp.where(x > 0, x, 1)


def _divided(x, sizes):
    return x / sizes.reshape(-1, *[1] * (x.ndim - 1))
