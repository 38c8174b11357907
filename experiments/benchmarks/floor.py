"""The floor of a training step: its matrix products alone, with or without Adam's traffic."""

import jax
import jax.numpy as jnp

from bioprop.costs.trace import Product
from experiments.benchmarks import timing


def run(signals: list[Product], gradients: list[Product] = (), steps: int = 1) -> timing.Stepper:
    """A call that does, `steps` times in one scan, just these products, and Adam's traffic.

    Adam reads and writes a weight and its two moments for each element of a gradient. A signal is
    kept whole and hands one number to the next step, so that none can be skipped or moved.
    """

    def ones(places, *shape):
        return jnp.ones(shape if places == 1 else (places, *shape))

    def operands(items):
        return [
            (ones(places, rows, inner), ones(places, inner, columns))
            for places, rows, inner, columns in items
        ]

    def multiply(pairs):
        results = jax.lax.optimization_barrier([x @ y for x, y in pairs])
        return results, [
            (x.at[(0,) * x.ndim].set(result[(0,) * x.ndim]), y)
            for (x, y), result in zip(pairs, results, strict=True)
        ]

    def step(carry):
        signals, gradients, weights = carry
        _, signals = multiply(signals)
        results, gradients = multiply(gradients)
        weights = [
            [x + gradient for x in triple]
            for triple, gradient in zip(weights, results, strict=True)
        ]
        return signals, gradients, weights

    weights = [
        [ones(places, rows, columns) for _ in range(3)] for places, rows, _, columns in gradients
    ]
    carry = (operands(signals), operands(gradients), weights)
    return timing.Stepper(step, carry, steps)
