"""Glorot-uniform matrices that follow from a key, drawn in blocks of rows.

`draw` makes the whole of one. `project` multiplies by the same one, block by block, each drawn
anew and let go of, so that no more than a block of it exists at a time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from bioprop.layers.base import glorot_uniform

BLOCK = 1 << 20  # entries drawn at once, at most; larger matrices would change with it

Shape = tuple[int, int]  # (rows, columns)


def draw(key: jax.Array, shape: Shape) -> jax.Array:
    """The matrix of that key."""

    def place(first, block, matrix):
        return lax.dynamic_update_slice_in_dim(matrix, block, first, axis=0)

    return _each_block(key, shape, place, jnp.zeros(shape))


def project(key: jax.Array, shape: Shape, x: jax.Array) -> jax.Array:
    """x @ draw(key, shape).T: from (batch, columns) to (batch, rows)."""

    def place(first, block, product):
        return lax.dynamic_update_slice_in_dim(product, x @ block.astype(x.dtype).T, first, axis=1)

    return _each_block(key, shape, place, jnp.zeros((len(x), shape[0]), x.dtype))


def _each_block(key: jax.Array, shape: Shape, place: Callable, carry: jax.Array) -> jax.Array:
    """carry = place(first row, block, carry) for blocks that are all the rows of the matrix."""
    rows, columns = shape
    blocks = -(-rows // max(1, BLOCK // columns))
    if blocks == 1:
        return place(0, glorot_uniform(key, shape, fans=shape), carry)
    size = -(-rows // blocks)
    whole, rest = divmod(rows, size)

    def step(i, rows, carry):
        block = glorot_uniform(jax.random.fold_in(key, i), (rows, columns), fans=shape)
        return place(i * size, block, carry)

    carry = lax.fori_loop(0, whole, lambda i, carry: step(i, size, carry), carry)
    return step(whole, rest, carry) if rest else carry
