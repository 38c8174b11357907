"""Solving within a step.

jaxlib's factorisations of a batch share a CPU's few threads with the program that calls them, and
two of them in one program can lock it up: a batch of small systems is eliminated here, by matrices
as wide as there are outputs, and a large matrix is inverted alone even under vmap.
"""

import jax
import jax.numpy as jnp


def solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """x of matrix x = right, (batch, n, n) and (batch, n), by elimination with pivots (Gauss)."""
    rows = jnp.concatenate([_single(matrix), _single(right)[..., None]], axis=-1)
    n = right.shape[-1]
    for k in range(n):
        size = jnp.where(jnp.arange(n)[None] < k, -1, jnp.abs(rows[..., k]))
        chosen = jax.nn.one_hot(jnp.argmax(size, axis=-1), n, dtype=rows.dtype)
        pivot, replaced = jnp.einsum('bn,bnm->bm', chosen, rows), rows[:, k]
        rows = rows + chosen[..., None] * (replaced - pivot)[:, None]
        pivot = pivot / pivot[:, k, None]
        factors = rows[..., k].at[:, k].set(0)
        rows = (rows - factors[..., None] * pivot[:, None]).at[:, k].set(pivot)
    return rows[..., -1].astype(right.dtype)


@jax.custom_batching.sequential_vmap
def pseudo_inverse(matrix: jax.Array) -> jax.Array:
    """(columns, rows) of a (rows, columns) of full rank, no fewer rows than columns."""
    wide = _single(matrix)
    if matrix.shape[0] == matrix.shape[1]:
        return jnp.linalg.inv(wide).astype(matrix.dtype)
    return jnp.linalg.solve(wide.T @ wide, wide.T).astype(matrix.dtype)


def _single(x):
    """At least in single precision."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
