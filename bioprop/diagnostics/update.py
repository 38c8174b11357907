"""The update of the weights against the gradient of the loss, of a batch and of its examples."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.comparison import compare, compare_whole, table
from bioprop.diagnostics.probe import Found, Probe, named
from bioprop.layers import Layer


def update(probe: Probe) -> Found:
    """Angle and norm ratio to the gradient of a batch's update, averaged as the optimiser gets it.

    'update_angle/kernel/layer_l' and 'update_ratio/kernel/layer_l', and 'bias' likewise; 'total' is
    over kernels and biases.
    """
    places, found = _by_place(compare_whole, probe.updates, probe.gradient_updates)
    return named('update_angle', places, found.angle) | named('update_ratio', places, found.ratio)


def examples(probe: Probe) -> Found:
    """'example_angle/...': the angle between what one example asks for and its own gradient."""
    if not probe.signals:
        return {}
    ours, bp = (_of_examples(probe, deltas) for deltas in (probe.signals, probe.gradients))
    places, found = _by_place(compare, ours, bp)
    return probe.spread('example_angle', places, found.angle)


def _by_place(compare, ours, bp):
    """The table of 'kernel/layer_1', ..., 'bias/layer_L', 'kernel/total', 'bias/total', 'total'."""
    parts = {
        f'{kind}/layer_{l}': compare(u[kind], v[kind])
        for kind in ('kernel', 'bias')
        for l, (u, v) in enumerate(zip(ours, bp, strict=True), start=1)
    }
    return table(parts, {'kernel/total': 'kernel', 'bias/total': 'bias', 'total': ''})


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
