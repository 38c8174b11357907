"""Any net of non-negative units as one that keeps Dale's law (Parisien et al. 2008).

W = E - c 1^T with E = W + c 1^T, and c the least that leaves no entry of E below 0: excitatory
weights, and one inhibitory unit, of each receptive field where they differ, that sums its inputs
and sends c. (Theirs weighs the inputs of the inhibitory unit, and approximates it by many.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bioprop.layers import add_bias
from bioprop.layers.base import Params, input_axes
from bioprop.networks import Network


class Part(NamedTuple):
    """A layer: excitation, and inhibition by the sum of its inputs."""

    excitatory: jax.Array  # in the shape of the kernel, none below 0
    inhibitory: jax.Array  # what the inhibitory unit sends to each unit, none below 0
    bias: jax.Array


class View(NamedTuple):
    """A network and its weights, as Dale's law has them."""

    network: Network
    parts: tuple[Part, ...]

    def states(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """(h_0, ..., h_L) of inputs h_0 that are not negative: the network's, but for rounding."""
        found = [x]
        for layer, part in zip(self.network.layers, self.parts, strict=True):
            excitation = layer.linear(part.excitatory, found[-1])
            summed = layer.linear(jnp.ones_like(part.excitatory), found[-1])
            inhibition = jnp.broadcast_to(part.inhibitory, summed.shape) * summed
            found.append(layer.activation(add_bias(excitation - inhibition, part.bias)))
        return tuple(found)


def view(network: Network, forward: Sequence[Params]) -> View:
    """The same function of inputs and states that are not negative, exact to rounding."""
    return View(network, tuple(map(_part, forward)))


def _part(params):
    kernel, axes = params['kernel'], input_axes(params)
    inhibitory = jax.nn.relu(jnp.max(-kernel, axis=axes, keepdims=True))
    return Part(kernel + inhibitory, jnp.squeeze(inhibitory, axes), params['bias'])
