"""`bioprop.layers.locally_connected` as a flax.linen module.

What flax pads, mirrors or dilates is done to the input first: a plain window over it is left.
"""

from collections.abc import Callable, Sequence
from functools import cache
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.linear import canonicalize_padding, default_kernel_init
from jax import lax

from bioprop.layers import add_bias, window
from bioprop.layers.locally_connected import gradient, linear, transpose
from bioprop.layers.trilinear import trilinear
from bioprop.layers.window import each_axis

ZEROS = ('SAME', 'SAME_LOWER', 'VALID')
COPIES = {'CIRCULAR': 'wrap', 'REFLECT': 'reflect'}  # the modes of jnp.pad

PerAxis = int | Sequence[int] | None


class ConvLocal(nn.Module):
    """Takes the place of `flax.linen.ConvLocal`: same options, parameters, values, a fast gradient.

    Inputs are (..., *spatial, channels), with a spatial axis for each entry of kernel_size. Raises
    NotImplementedError for feature groups and for conv_general_dilated, ValueError for what does
    not fit. Differentiable in reverse, to any order. Kernels start as flax's do, LeCun-normal with
    the fan-in of all places together; for the fan-in of one place, in which a layer keeps the
    variance of its input, give kernel_init=lecun_normal(batch_axis=(0, 1)), with two spatial axes.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: PerAxis = 1
    padding: str | int | Sequence[int | tuple[int, int]] = 'SAME'
    input_dilation: PerAxis = 1
    kernel_dilation: PerAxis = 1
    feature_group_count: int = 1
    use_bias: bool = True
    mask: jax.Array | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable = default_kernel_init
    bias_init: Callable = nn.initializers.zeros_init()
    promote_dtype: Callable = nn.dtypes.promote_dtype
    conv_general_dilated: Callable | None = None
    conv_general_dilated_cls: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """(..., *spatial, channels) -> (..., *places, features)."""
        _refuse_what_is_not_taken(self)
        size = (self.kernel_size,) if isinstance(self.kernel_size, Integral) else self.kernel_size
        size = each_axis('kernel_size', size, len(size))
        batch, in_shape = inputs.shape[: -len(size) - 1], inputs.shape[-len(size) - 1 :]
        if len(in_shape) != len(size) + 1:
            raise ValueError(f'inputs must be (..., *{len(size)} axes, channels), not {in_shape}')
        x, strides = _plain(self, size, inputs.reshape(-1, *in_shape))
        places = window(x.shape[1:-1], size, strides, 'VALID')
        kernel = self._kernel((*places.out_shape, in_shape[-1] * places.taps, self.features))
        bias = None
        if self.use_bias:
            shape = (*places.out_shape, self.features)
            bias = self.param('bias', self.bias_init, shape, self.param_dtype)
        x, kernel, bias = self.promote_dtype(x, kernel, bias, dtype=self.dtype)
        outputs = _linear_in(self.precision)(places, *_alike(kernel, x))
        if bias is not None:
            outputs = add_bias(outputs, bias)
        return outputs.reshape(*batch, *outputs.shape[1:])

    def _kernel(self, shape):
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f'mask must have the shape of the kernel, {shape}: {self.mask.shape}')
        kernel = self.param('kernel', self.kernel_init, shape, self.param_dtype)
        return kernel if self.mask is None else kernel * self.mask


def _refuse_what_is_not_taken(options):
    if options.feature_group_count != 1:
        raise NotImplementedError(
            f'feature_group_count must be 1, not {options.feature_group_count}: '
            'give each group of channels a ConvLocal of its own'
        )
    for name in ('conv_general_dilated', 'conv_general_dilated_cls'):
        if getattr(options, name) is not None:
            raise NotImplementedError(f'{name} changes nothing of a ConvLocal: leave it out')


def _plain(options, size, x):
    """(input, strides) for which a window without padding and dilation sees what it should."""
    strides, around, within = (
        each_axis(name, 1 if (value := getattr(options, name)) is None else value, len(size))
        for name in ('strides', 'input_dilation', 'kernel_dilation')
    )
    span = tuple((taps - 1) * gap + 1 for taps, gap in zip(size, within, strict=True))
    x = _padded(x, options.padding, around, span, strides)
    places = window(x.shape[1:-1], span, strides, 'VALID').out_shape
    axes = list(zip(places, size, strides, within, strict=True))
    for axis, (count, taps, stride, gap) in enumerate(axes, start=1):
        if gap > 1:
            x = _side_by_side(x, axis, count, taps, stride, gap)
    return x, tuple(taps if gap > 1 else stride for _, taps, stride, gap in axes)


def _padded(x, padding, dilation, span, strides):
    """x with zeros or copies around it, and zeros between its entries where they are dilated."""
    if isinstance(padding, str) and any(gap > 1 for gap in dilation):
        raise ValueError(f'padding {padding!r} does not go with an input_dilation: give numbers')
    pads = _pads(padding, x.shape[1:-1], span, strides)
    if padding in COPIES:
        return jnp.pad(x, [(0, 0), *pads, (0, 0)], COPIES[padding])
    pads = [(*pad, gap - 1) for pad, gap in zip(pads, dilation, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])


def _pads(padding, shape, span, strides):
    """(below, above) for each axis; negative ones take away."""
    if not isinstance(padding, str):
        return canonicalize_padding(padding, len(span))
    if padding in COPIES:
        return [((taps - 1) // 2, taps // 2) for taps in span]
    if padding == 'CAUSAL' and len(span) == 1:
        return [(span[0] - 1, 0)]
    if padding.upper() in ZEROS:
        return lax.padtype_to_pads(shape, span, strides, padding)
    known = ', '.join((*ZEROS, *COPIES, 'CAUSAL (of one axis)'))
    raise ValueError(f'padding {padding!r} must be numbers or one of {known}')


def _side_by_side(x, axis, count, taps, stride, gap):
    """x with the taps of one place, which are a gap apart, next to each other on that axis."""
    reach = stride * (count - 1) + 1
    seen = [lax.slice_in_dim(x, tap * gap, tap * gap + reach, stride, axis) for tap in range(taps)]
    return lax.collapse(jnp.stack(seen, axis + 1), axis, axis + 2)


def _alike(*arrays):
    kind = jnp.result_type(*arrays)
    return [array.astype(kind) for array in arrays]


@cache
def _linear_in(precision):
    """`linear`, with the products of all its derivatives in the precision that flax is given."""
    if precision is None:
        return linear
    pair = precision if isinstance(precision, tuple) else (precision, precision)
    try:
        (level,) = set(map(lax.Precision, pair))
    except ValueError:
        raise ValueError(
            f'precision {precision!r} must be None or one jax.lax.Precision for both operands'
        ) from None
    of_level = jax.default_matmul_precision(level.name.lower())
    return trilinear(*map(of_level, (linear, transpose, gradient)))[0]
