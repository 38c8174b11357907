"""The update of the weights against the gradient of the loss."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe, angle, by_layer, whole_angle, whole_norm
from bioprop.layers import Layer

KINDS = ('kernel', 'bias')


def update(probe: Probe) -> Found:
    """Angle and norm ratio of the update of a batch to its gradient, and the angles of examples.

    'update_angle/kernel/layer_l' and 'update_ratio/...' are of the batch's update, averaged as the
    optimiser gets it; 'example_angle/...' is the mean over examples of the angle between what one
    example asks for and its own gradient. 'bias' likewise; 'total' is over kernels and biases.
    """
    found = {}
    gradients = _by_place(probe.gradient_updates)
    for place, ours in _by_place(probe.updates).items():
        found[f'update_angle/{place}'] = whole_angle(ours, gradients[place])
        found[f'update_ratio/{place}'] = whole_norm(ours) / whole_norm(gradients[place])
    if probe.signals:
        gradients = _by_place(_of_examples(probe, probe.gradients))
        for place, ours in _by_place(_of_examples(probe, probe.signals)).items():
            found |= probe.spread(f'example_angle/{place}', angle(ours, gradients[place]))
    return found


def _by_place(updates):
    """{'kernel/layer_1': [array], ..., 'bias/layer_L': [array], 'total': all of them}."""
    found = {
        f'{kind}/{place}': arrays
        for kind in KINDS
        for place, arrays in by_layer({l: [u[kind]] for l, u in enumerate(updates, 1)}).items()
    }
    return found | {'total': [array for kind in KINDS for array in found[f'{kind}/total']]}


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
