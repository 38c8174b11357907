"""The floor of a training step: its matrix products alone, with or without Adam's traffic."""

from typing import Any

import jax
import jax.numpy as jnp

from bioprop.costs.products import Product
from experiments.benchmarks import timing


def run(products: list[Product], trained: Any = (), steps: int = 1) -> timing.Stepper:
    """A call that does, `steps` times in one scan, just these products, and Adam's traffic.

    Adam reads an update, and reads and writes a weight and its two moments, for each element of
    the arrays, or shapes, in `trained`. A product is kept whole and hands one number to the next
    step, so that none can be skipped or moved.
    """

    def ones(places, *shape):
        return jnp.ones(shape if places == 1 else (places, *shape))

    def multiply(pairs):
        results = jax.lax.optimization_barrier([x @ y for x, y in pairs])
        return [
            (x.at[(0,) * x.ndim].set(result[(0,) * x.ndim]), y)
            for (x, y), result in zip(pairs, results, strict=True)
        ]

    def step(carry):
        pairs, updates, weights = carry
        weights = [
            [x + update for x in triple] for triple, update in zip(weights, updates, strict=True)
        ]
        return multiply(pairs), updates, weights

    pairs = [
        (ones(places, rows, inner), ones(places, inner, columns))
        for places, rows, inner, columns in products
    ]
    shapes = [leaf.shape for leaf in jax.tree.leaves(trained)]
    weights = [[jnp.ones(shape) for _ in range(3)] for shape in shapes]
    return timing.Stepper(step, (pairs, [jnp.ones(shape) for shape in shapes], weights), steps)
