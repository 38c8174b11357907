"""The floor of a training step: its matrix products alone, with or without Adam's traffic."""

import math

import jax
import jax.numpy as jnp

from bioprop.networks import Network
from experiments.benchmarks import timing

# (places, rows, inner, columns): at every place a product of (rows, inner) with (inner, columns).
Product = tuple[int, int, int, int]


def forward_products(network: Network, batch: int) -> list[Product]:
    """The product that each layer is, bottom first.

    A locally connected layer has its own matrix at every place; a convolution has one, over the
    rows of all places, and a dense layer one over the batch.
    """

    def product(layer):
        *places, columns = layer.bias_shape
        inner = math.prod(layer.kernel_shape) // math.prod(layer.bias_shape)
        rows = batch * math.prod(layer.out_shape) // math.prod(layer.bias_shape)
        return math.prod(places), rows, inner, columns

    return [product(layer) for layer in network.layers]


def products(
    rule: str, network: Network, batch: int, auxiliary: int = 0
) -> tuple[list[Product], list[Product]]:
    """(signals, gradients): the products that a step of a rule cannot do without.

    Gradients are those of weights, which an optimiser consumes. An inverse costs two signals in
    the targets, and f, g and its gradient in its loss. auxiliary counts AO-SDTP's extra outputs.
    """
    forward = forward_products(network, batch)
    down = [(places, rows, columns, inner) for places, rows, inner, columns in forward]
    gradients = [(places, inner, rows, columns) for places, rows, inner, columns in forward]
    if rule in ('bp', 'fa'):
        return forward + down[1:], gradients
    if rule == 'dfa':
        outputs = math.prod(network.out_shape)
        units = [math.prod(layer.out_shape) for layer in network.layers[:-1]]
        return forward + [(1, batch, outputs, width) for width in units], gradients
    inner = 3 * down[1:-1] + forward[1:-1]
    if rule == 'dtp':
        return forward + inner + down[-1:], gradients + gradients[1:-1]
    _, _, below, above = forward[-1]
    top = [forward[-1], *3 * [(1, batch, above + auxiliary, below)]]
    features = 2 * [(1, batch, below, auxiliary)] if auxiliary else []
    return (
        forward + inner + top + features,
        gradients + gradients[1:-1] + [(1, below, batch, above + auxiliary)],
    )


def flops(items: list[Product]) -> int:
    """Floating point operations of the products."""
    return sum(2 * math.prod(item) for item in items)


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

    def step(carry, _):
        signals, gradients, weights = carry
        _, signals = multiply(signals)
        results, gradients = multiply(gradients)
        weights = [
            [x + gradient for x in triple]
            for triple, gradient in zip(weights, results, strict=True)
        ]
        return (signals, gradients, weights), None

    weights = [
        [ones(places, rows, columns) for _ in range(3)] for places, rows, _, columns in gradients
    ]
    carry = (operands(signals), operands(gradients), weights)
    return timing.Stepper(lambda carry: jax.lax.scan(step, carry, length=steps)[0], carry)
