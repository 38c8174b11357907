"""The update of the weights against the gradient of the loss, of a batch and of its examples."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.comparison import by_layer, compare, compare_whole, together
from bioprop.diagnostics.probe import Found, Probe
from bioprop.layers import Layer


def update(probe: Probe) -> Found:
    """Angle and norm ratio to the gradient of a batch's update, averaged as the optimiser gets it.

    'update_angle/kernel/layer_l' and 'update_ratio/kernel/layer_l', and 'bias' likewise; 'total' is
    over kernels and biases.
    """
    found = {}
    for place, each in _by_place(compare_whole, probe.updates, probe.gradient_updates).items():
        found |= {f'update_angle/{place}': each.angle, f'update_ratio/{place}': each.ratio}
    return found


def examples(probe: Probe) -> Found:
    """'example_angle/...': the angle between what one example asks for and its own gradient."""
    found = {}
    if probe.signals:
        ours, bp = (_of_examples(probe, deltas) for deltas in (probe.signals, probe.gradients))
        for place, each in _by_place(compare, ours, bp).items():
            found |= probe.spread(f'example_angle/{place}', each.angle)
    return found


def _by_place(compare, ours, bp):
    """Comparisons by 'kernel/layer_1', ..., 'kernel/total', ..., 'bias/total' and 'total'."""
    found = {}
    for kind in ('kernel', 'bias'):
        pairs = enumerate(zip(ours, bp, strict=True), start=1)
        parts = {l: compare(u[kind], v[kind]) for l, (u, v) in pairs}
        found |= {f'{kind}/{place}': each for place, each in by_layer(parts).items()}
    return found | {'total': together([found['kernel/total'], found['bias/total']])}


def _of_examples(probe, deltas):
    """What each example asks for: a {'kernel', 'bias'} a layer, (examples, ...) each."""
    updates = []
    layers = zip(probe.network.layers, probe.states[:-1], probe.states[1:], deltas, strict=True)
    for layer, x, h, delta in layers:
        error = layer.slope(h) * delta
        bias = error.reshape(len(error), -1, *layer.bias_shape).sum(1)  # units may share one
        updates.append({'kernel': example_kernels(layer, x, error), 'bias': bias})
    return updates


def example_kernels(layer: Layer, x: jax.Array, error: jax.Array) -> jax.Array:
    """Vectors (examples, ...) with the inner products that the kernel updates of examples have.

    Where no two connections share a weight the update has the entry x_i error_j for every
    connection of input i with unit j, so that sqrt(sum of x_i^2 over the inputs of j) error_j has
    the same inner products; otherwise it is the update itself.
    """
    if layer.bias_shape == layer.out_shape:
        joined = layer.linear(jnp.ones(layer.kernel_shape, x.dtype), jnp.square(x))
        return jnp.sqrt(joined) * error

    def gradient(x, error):
        kernel = jnp.zeros(layer.kernel_shape, x.dtype)
        return jax.vjp(lambda k: layer.linear(k, x[None]), kernel)[1](error[None])[0]

    return jax.vmap(gradient)(x, error)
