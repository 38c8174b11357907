"""The convolutional layer."""

from collections.abc import Callable, Sequence

import jax

from bioprop.layers.base import ACTIVATIONS, Layer, Shape
from bioprop.layers.window import Padding, window


def convolution(
    features: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = 'SAME',
    activation: str = 'tanh',
) -> Callable[[Shape], Layer]:
    """Describes h = activation(conv(x, W) + b) over any number of spatial axes, channels last.

    W is (*kernel_size, channels, features), b is (features,). Sizes, strides and padding are those
    of `bioprop.layers.window`; binding raises ValueError for an input that they do not fit.
    """
    function, slope = ACTIVATIONS[activation]

    def bind(in_shape: Shape) -> Layer:
        *spatial, channels = in_shape
        place = window(spatial, kernel_size, strides, padding)

        def linear(kernel, x):
            return jax.lax.conv_general_dilated(
                x, kernel, place.strides, place.padding, dimension_numbers=channels_last(place)
            )

        def transpose(kernel, a):
            x = jax.ShapeDtypeStruct((len(a), *in_shape), a.dtype)
            return jax.linear_transpose(lambda x: linear(kernel, x), x)(a)[0]

        return Layer(
            in_shape=in_shape,
            out_shape=(*place.out_shape, features),
            kernel_shape=(*place.size, channels, features),
            bias_shape=(features,),
            fans=(channels * place.taps, features * place.taps),
            linear=linear,
            transpose=transpose,
            activation=function,
            slope=slope,
        )

    return bind


def channels_last(place) -> jax.lax.ConvDimensionNumbers:
    """(batch, *spatial, channels) for activations, (*spatial, in, out) for the kernel."""
    axes = len(place.in_shape)
    last = (0, axes + 1, *range(1, axes + 1))
    return jax.lax.ConvDimensionNumbers(last, (axes + 1, axes, *range(axes)), last)
