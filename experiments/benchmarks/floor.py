"""The arithmetic floor of a training step: its matrix products alone, and Adam's bytes."""

import itertools

import jax
import jax.numpy as jnp

from experiments.benchmarks import timing

Product = tuple[int, int, int]  # (rows, inner, columns)


def products(rule: str, widths: tuple[int, ...], batch: int, auxiliary: int = 0) -> list[Product]:
    """The matrix products that a step of a rule cannot do without, on dense layers.

    widths are (inputs, hidden, ..., outputs). An inverse costs three in its loss (f, g and the
    gradient of V) and two in the targets.
    """
    pairs = list(itertools.pairwise(widths))
    forward = [(batch, below, above) for below, above in pairs]
    weight_gradients = [(below, batch, above) for below, above in pairs]
    down = [(batch, above, below) for below, above in pairs]
    common = forward + weight_gradients
    if rule in ('bp', 'fa'):
        return common + down[1:]
    if rule == 'dfa':
        return common + [(batch, widths[-1], width) for width in widths[1:-1]]
    if rule == 'dtp':
        inverses = slice(1, -1)
        return (
            common + down[-1:] + 3 * down[inverses] + forward[inverses] + weight_gradients[inverses]
        )
    below, above = pairs[-1]
    wide = (batch, above + auxiliary, below)
    features = 2 * [(batch, below, auxiliary)] if auxiliary else []
    inner = 3 * down[1:-1] + forward[1:] + weight_gradients[1:-1]
    return common + inner + 3 * [wide] + [(below, batch, above + auxiliary)] + features


def flops(items: list[Product]) -> int:
    """Floating point operations of the products."""
    return sum(2 * rows * inner * columns for rows, inner, columns in items)


def parameters(widths: tuple[int, ...]) -> int:
    """Weights and biases of dense layers."""
    return sum((below + 1) * above for below, above in itertools.pairwise(widths))


def run(items: list[Product], parameters: int = 0, steps: int = 1):
    """A call that does, `steps` times in one scan, just these products and Adam's traffic.

    Adam reads weight, two moments and gradient of every parameter, and writes all but the last.
    Each product is kept whole, and hands one number to the next step: none can be skipped or moved.
    """
    operands = [
        (jnp.ones((rows, inner)), jnp.ones((inner, columns))) for rows, inner, columns in items
    ]
    arrays = [jnp.ones(parameters) for _ in range(3)]
    gradient = jnp.ones(parameters)

    def step(carry, _):
        operands, arrays = carry
        results = jax.lax.optimization_barrier([x @ y for x, y in operands])
        operands = [
            (x.at[0, 0].set(result[0, 0]), y)
            for (x, y), result in zip(operands, results, strict=True)
        ]
        return (operands, [x + gradient for x in arrays]), None

    def scan(carry):
        return jax.lax.scan(step, carry, length=steps)[0]

    return timing.stepper(scan, (operands, arrays))
