"""Networks: a chain of bound layers, and the nets of Bartunov et al. 2018, table 3."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from bioprop.layers import Layer, convolution, dense, locally_connected
from bioprop.layers.base import Params, Shape
from bioprop.registry import find


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
    """Binds layer descriptions, bottom first, to the shape of one example of the input.

    Raises ValueError for what describes no layer.
    """
    bound, shape = [], tuple(in_shape)
    for describe in layers:
        bound.append(_bind(describe, shape))
        shape = bound[-1].out_shape
    return Network(tuple(bound))


def _bind(describe, shape):
    layer = describe(shape) if callable(describe) else None
    if not isinstance(layer, Layer):
        raise ValueError(
            f'{describe!r} describes no layer: called with the shape of an input it must return a '
            'bioprop.layers.Layer'
        )
    return layer


# The kinds of net, and the layer that stands for (kernel size, channels, stride) in them.
NETS = {'fc': None, 'lc': locally_connected, 'conv': convolution}

Hidden = Sequence[int | tuple]


def local_layer(net: str) -> Callable | None:
    """What describes the (kernel size, channels, stride) of a kind of net; None if it has none.

    A net 'module:function' has a layer of the user's own: function(features, kernel_size, strides,
    *padding, activation=name) must describe one, as `bioprop.layers.convolution` does. Raises
    UserError for an unknown name and for what cannot be loaded.
    """
    return find('net', net, NETS)


def feedforward(
    in_shape: Shape, hidden: Hidden, outputs: int, activation: str = 'tanh', net: str = 'fc'
) -> Network:
    """Hidden layers from their numbers, under a linear layer of `outputs` logits.

    hidden is written as in table 3, bottom first: an integer is the width of a dense layer, and
    (kernel size, channels, stride), or these and the padding, a layer of the net's kind. Raises
    ValueError for what is neither, and for a kernel that does not fit; UserError as `local_layer`.
    """
    layers = [_describe(numbers, activation, net) for numbers in hidden]
    return network([*layers, dense(outputs, 'linear')], in_shape)


def _describe(numbers, activation, net):
    match numbers:
        case int() if numbers > 0:
            return dense(numbers, activation)
        case [size, int(channels), strides, *padding] if channels > 0 and len(padding) < 2:
            describe = local_layer(net)
            if describe is None:
                raise ValueError(f'net={net} has dense layers only, not {numbers}')
            try:
                inspect.signature(describe).bind(channels, size, strides, *padding, activation='')
            except TypeError as error:
                raise ValueError(f'net={net} takes no layer {numbers}: {error}') from error
            return describe(channels, size, strides, *padding, activation=activation)
    raise ValueError(
        f'a hidden layer is a width or (kernel size, channels, stride), not {numbers!r}'
    )


def parameter_count(weights) -> int:
    """The number of scalars in a tree of arrays (or of their shapes)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(weights))
