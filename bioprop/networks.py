"""Networks: a chain of bound layers, and the nets of Bartunov et al. 2018, table 3."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from bioprop.layers import Layer, dense
from bioprop.layers.base import Params, Shape


class Network(NamedTuple):
    """Layers 1..L, each taking the output of the one before; h_L holds the logits."""

    layers: tuple[Layer, ...]

    @property
    def in_shape(self) -> Shape:
        """Of one example of the input."""
        return self.layers[0].in_shape

    @property
    def out_shape(self) -> Shape:
        """Of one example of the logits."""
        return self.layers[-1].out_shape

    def init(self, key: jax.Array) -> tuple[Params, ...]:
        """The forward weights: one {'kernel', 'bias'} a layer."""
        return tuple(
            layer.init(jax.random.fold_in(key, index)) for index, layer in enumerate(self.layers)
        )

    def states(self, forward: Sequence[Params], x: jax.Array) -> tuple[jax.Array, ...]:
        """(h_0, ..., h_L) for inputs h_0 = x of shape (batch, *in_shape)."""
        states = [x]
        for layer, params in zip(self.layers, forward, strict=True):
            states.append(layer.apply(params, states[-1]))
        return tuple(states)


def network(layers: Sequence[Callable[[Shape], Layer]], in_shape: Shape) -> Network:
    """Binds layer descriptions, bottom first, to the shape of one example of the input."""
    bound, shape = [], tuple(in_shape)
    for describe in layers:
        bound.append(describe(shape))
        shape = bound[-1].out_shape
    return Network(tuple(bound))


def fully_connected(
    in_shape: Shape, hidden: Sequence[int], outputs: int, activation: str = 'tanh'
) -> Network:
    """Dense layers of the given widths under a linear layer of `outputs` logits."""
    layers = [dense(width, activation) for width in hidden] + [dense(outputs, 'linear')]
    return network(layers, in_shape)


NETS = {'fc': fully_connected}


def parameter_count(weights) -> int:
    """The number of scalars in a tree of arrays (or of their shapes)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(weights))
