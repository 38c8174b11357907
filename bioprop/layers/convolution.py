"""The convolutional layer.

Its transpose and its gradient are written as convolutions in the layout of the forward pass:
XLA's own derivatives name the axes otherwise, which on a CPU costs a factor of 4 to 100 inside a
`lax.scan`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from bioprop.layers.base import ACTIVATIONS, Layer, Shape
from bioprop.layers.trilinear import trilinear
from bioprop.layers.window import Padding, Window, window


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
    Differentiable in reverse, to any order.
    """
    function, slope, integral = ACTIVATIONS[activation]

    def bind(in_shape: Shape) -> Layer:
        *spatial, channels = in_shape
        place = window(spatial, kernel_size, strides, padding)
        return Layer(
            in_shape=in_shape,
            out_shape=(*place.out_shape, features),
            kernel_shape=(*place.size, channels, features),
            bias_shape=(features,),
            fans=(channels * place.taps, features * place.sights),
            linear=partial(linear, place),
            transpose=partial(transpose, place),
            activation=function,
            slope=slope,
            integral=integral,
        )

    return bind


def _linear(place: Window, kernel: jax.Array, x: jax.Array) -> jax.Array:
    """a: the convolution of x, (batch, *in_shape, channels) to (batch, *out_shape, features)."""
    return _convolve(x, kernel, place.padding, strides=place.strides)


def _transpose(place: Window, kernel: jax.Array, a: jax.Array) -> jax.Array:
    """x: the exact transpose of `linear` for that kernel, in the same shapes."""
    back = jnp.flip(kernel, range(len(place.size))).swapaxes(-1, -2)
    padding = [
        (size - 1 - low, n - 1 + low - stride * (count - 1))
        for n, count, size, stride, (low, _) in _axes(place)
    ]
    return _convolve(a, back, padding, lhs_dilation=place.strides)


def _gradient(place: Window, x: jax.Array, a: jax.Array) -> jax.Array:
    """The kernel's gradient: the correlation of x with a, summed over the batch."""
    padding = [
        (low, size - n - low + stride * (count - 1))
        for n, count, size, stride, (low, _) in _axes(place)
    ]
    kernel = _convolve(
        x.swapaxes(0, -1), jnp.moveaxis(a, 0, -2), padding, rhs_dilation=place.strides
    )
    return jnp.moveaxis(kernel, 0, -2)


linear, transpose, gradient = trilinear(_linear, _transpose, _gradient)


def _axes(place):
    """For each axis: inputs, places, size of the kernel, stride, padding."""
    return zip(
        place.in_shape, place.out_shape, place.size, place.strides, place.padding, strict=True
    )


def _convolve(x, kernel, padding, strides=None, **dilation):
    """(batch, *spatial, in) with (*spatial, in, out), to (batch, *spatial, out)."""
    axes = x.ndim - 2
    last = (0, axes + 1, *range(1, axes + 1))
    layout = lax.ConvDimensionNumbers(last, (axes + 1, axes, *range(axes)), last)
    return lax.conv_general_dilated(
        x, kernel, strides or (1,) * axes, padding, dimension_numbers=layout, **dilation
    )
