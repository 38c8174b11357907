"""Plain backpropagation as anyone would write it with JAX and optax, without bioprop's rules."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.benchmarks import timing
from experiments.benchmarks.nets import Net

LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def weights(net: Net):
    """Glorot-uniform kernels and zero biases, bottom first."""
    return [(params['kernel'], params['bias']) for params in net.network.init(jax.random.key(0))]


def loss(net: Net, weights, image, label):
    """The mean cross-entropy of a tanh network."""
    h = image
    for numbers, (kernel, bias) in zip(net.hidden, weights[:-1], strict=True):
        h = jnp.tanh(_linear(net.kind, numbers, kernel, h) + bias)
    kernel, bias = weights[-1]
    logits = h.reshape(len(h), -1) @ kernel + bias
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()


def _linear(kind, numbers, kernel, h):
    if isinstance(numbers, int):
        return h.reshape(len(h), -1) @ kernel
    size, _, stride = numbers
    strides = (stride, stride)
    if kind == 'conv':
        return lax.conv_general_dilated(h, kernel, strides, 'SAME', dimension_numbers=LAYOUT)
    return lax.conv_general_dilated_local(
        h, kernel, strides, 'SAME', filter_shape=(size, size), dimension_numbers=LAYOUT
    )


def update(net: Net, optimizer, carry, image, label):
    """A step of plain BP: (weights, optimiser state, loss of the last batch) -> the same."""
    weights, moments, _ = carry
    value, gradients = jax.value_and_grad(functools.partial(loss, net))(weights, image, label)
    updates, moments = optimizer.update(gradients, moments)
    return optax.apply_updates(weights, updates), moments, value


def begin(net: Net, optimizer):
    """What the first step takes."""
    start = weights(net)
    return start, optimizer.init(start), jnp.zeros(())


def step(net: Net, batch: dict[str, jax.Array], steps: int = 1) -> timing.Stepper:
    """A call that takes so many steps of BP with Adam."""
    optimizer = optax.adam(1e-4)
    return timing.Stepper(
        functools.partial(update, net, optimizer, image=batch['image'], label=batch['label']),
        begin(net, optimizer),
        steps,
    )
