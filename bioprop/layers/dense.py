"""The fully connected layer."""

import math
from collections.abc import Callable

from bioprop.layers.base import ACTIVATIONS, Layer, Shape


def dense(features: int, activation: str = 'tanh') -> Callable[[Shape], Layer]:
    """Describes h = activation(x W + b), where x is flattened and W is (inputs, features).

    Its transpose, y W^T, restores the shape of the input.
    """
    function, slope, integral = ACTIVATIONS[activation]

    def bind(in_shape: Shape) -> Layer:
        inputs = math.prod(in_shape)
        return Layer(
            in_shape=in_shape,
            out_shape=(features,),
            kernel_shape=(inputs, features),
            bias_shape=(features,),
            fans=(inputs, features),
            linear=lambda kernel, x: x.reshape(len(x), inputs) @ kernel,
            transpose=lambda kernel, a: (a @ kernel.T).reshape(len(a), *in_shape),
            activation=function,
            slope=slope,
            integral=integral,
        )

    return bind
