"""The floor of a training step: its matrix products alone, with or without Adam's traffic."""

import itertools

import jax
import jax.numpy as jnp

from experiments.benchmarks import timing

Product = tuple[int, int, int]  # (rows, inner, columns)


def products(
    rule: str, widths: tuple[int, ...], batch: int, auxiliary: int = 0
) -> tuple[list[Product], list[Product]]:
    """(signals, gradients): the products that a step of a rule cannot do without, on dense layers.

    widths are (inputs, hidden, ..., outputs); gradients are those of weights, which an optimiser
    consumes. An inverse costs two signals in the targets, and f, g and its gradient in its loss.
    """
    pairs = list(itertools.pairwise(widths))
    forward = [(batch, below, above) for below, above in pairs]
    down = [(batch, above, below) for below, above in pairs]
    gradients = [(below, batch, above) for below, above in pairs]
    if rule in ('bp', 'fa'):
        return forward + down[1:], gradients
    if rule == 'dfa':
        return forward + [(batch, widths[-1], width) for width in widths[1:-1]], gradients
    inner = 3 * down[1:-1] + forward[1:-1]
    if rule == 'dtp':
        return forward + inner + down[-1:], gradients + gradients[1:-1]
    below, above = pairs[-1]
    top = [forward[-1], *3 * [(batch, above + auxiliary, below)]]
    features = 2 * [(batch, below, auxiliary)] if auxiliary else []
    return (
        forward + inner + top + features,
        gradients + gradients[1:-1] + [(below, batch, above + auxiliary)],
    )


def flops(items: list[Product]) -> int:
    """Floating point operations of the products."""
    return sum(2 * rows * inner * columns for rows, inner, columns in items)


def run(signals: list[Product], gradients: list[Product] = (), steps: int = 1):
    """A call that does, `steps` times in one scan, just these products, and Adam's traffic.

    Adam reads and writes a weight and its two moments for each element of a gradient. A signal is
    kept whole and hands one number to the next step, so that none can be skipped or moved.
    """

    def operands(items):
        return [
            (jnp.ones((rows, inner)), jnp.ones((inner, columns))) for rows, inner, columns in items
        ]

    def multiply(pairs):
        results = jax.lax.optimization_barrier([x @ y for x, y in pairs])
        return results, [
            (x.at[0, 0].set(result[0, 0]), y) for (x, y), result in zip(pairs, results, strict=True)
        ]

    def step(carry, _):
        signals, gradients, weights = carry
        _, signals = multiply(signals)
        results, gradients = multiply(gradients)
        weights = [
            [x + gradient for x in triple]
            for triple, gradient in zip(weights, results, strict=True)
        ]
        return (signals, gradients, weights), None

    weights = [[jnp.ones((rows, columns)) for _ in range(3)] for rows, _, columns in gradients]
    carry = (operands(signals), operands(gradients), weights)
    return timing.stepper(lambda carry: jax.lax.scan(step, carry, length=steps)[0], carry)
