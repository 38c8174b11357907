"""The locally connected layer: a convolution whose weights are not shared between places.

It is `jax.lax.conv_general_dilated_local` with a forward pass, a transpose and a gradient of its
own. Each of the three walks down the rows of the output in blocks, and within a block is one
product of matrices for every place, over the patches of the input that the places see. Only the
patches of one block exist at a time, so that they stay in the cache.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioprop.layers.base import ACTIVATIONS, Layer, Shape
from bioprop.layers.trilinear import trilinear
from bioprop.layers.window import Padding, Window, window

# Bytes of patches in one block. On a CPU they fit its cache; elsewhere few large products are
# better, and the limit is there for memory.
BLOCK_BYTES = {'cpu': 4 << 20}
BLOCK_BYTES_ELSEWHERE = 256 << 20
_BACKEND = contextvars.ContextVar('_BACKEND', default=None)


def locally_connected(
    features: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = 'SAME',
    activation: str = 'tanh',
) -> Callable[[Shape], Layer]:
    """Describes h = activation(local(x, W) + b) over any number of spatial axes, channels last.

    W is (*places, channels * taps, features), laid out as for `lax.conv_general_dilated_local`,
    where places is the shape of the output and taps the size of the kernel; b is
    (*places, features). Sizes, strides and padding are those of `bioprop.layers.window`; binding
    raises ValueError for an input that they do not fit. Differentiable in reverse, to any order.
    """
    function, slope, integral = ACTIVATIONS[activation]

    def bind(in_shape: Shape) -> Layer:
        *spatial, channels = in_shape
        place = window(spatial, kernel_size, strides, padding)
        return Layer(
            in_shape=in_shape,
            out_shape=(*place.out_shape, features),
            kernel_shape=(*place.out_shape, channels * place.taps, features),
            bias_shape=(*place.out_shape, features),
            fans=(channels * place.taps, features * place.sights),
            linear=partial(linear, place),
            transpose=partial(transpose, place),
            activation=function,
            slope=slope,
            integral=integral,
        )

    return bind


def _linear(place: Window, kernel: jax.Array, x: jax.Array) -> jax.Array:
    """a: at every place the product of its patch of x with its own matrix.

    kernel is (*places, channels * taps, features), x (batch, *in_shape, channels) and a
    (batch, *places, features).
    """
    batch, features = len(x), kernel.shape[-1]
    x = _pad(place, x)

    def block(first, rows, a):
        product = jnp.einsum(
            '...kn,...ko->...no',
            _patches(place, rows, _rows_below(place, x, first, rows)),
            lax.dynamic_slice_in_dim(kernel, first, rows),
        )
        return lax.dynamic_update_slice_in_dim(a, jnp.moveaxis(product, -2, 0), first, axis=1)

    a = jnp.zeros((batch, *place.out_shape, features), x.dtype)
    return _each_block(place, batch, x.shape[-1] * x.itemsize, block, a)


def _transpose(place: Window, kernel: jax.Array, a: jax.Array) -> jax.Array:
    """x: the exact transpose of `linear` for that kernel, in the same shapes."""
    batch, channels = len(a), kernel.shape[-2] // place.taps
    exact = np.promote_types(a.dtype, np.float32)  # for the sum over patches that overlap

    def block(first, rows, x):
        above, axes = _rows_above(place, a, first, rows)
        patches = jnp.einsum(
            f'...ko,{axes}->...kn',
            lax.dynamic_slice_in_dim(kernel, first, rows),
            above,
            preferred_element_type=exact,
        )
        start, folded = first * place.strides[0], _fold(place, rows, patches)
        old = lax.dynamic_slice_in_dim(x, start, len(folded))
        return lax.dynamic_update_slice_in_dim(x, old + folded, start, axis=0)

    x = jnp.zeros((*place.padded_shape, channels, batch), exact)
    x = _each_block(place, batch, channels * exact.itemsize, block, x)
    inside = zip(place.padding, place.in_shape, strict=True)
    x = x[tuple(slice(low, low + size) for (low, _), size in inside)]
    return jnp.moveaxis(x, -1, 0).astype(a.dtype)


def _gradient(place: Window, x: jax.Array, a: jax.Array) -> jax.Array:
    """The kernel's gradient: at every place the outer product of its patch of x with its a."""
    batch, channels, features = len(x), x.shape[-1], a.shape[-1]
    x = _pad(place, x)

    def block(first, rows, kernel):
        above, axes = _rows_above(place, a, first, rows)
        product = jnp.einsum(
            f'...kn,{axes}->...ko',
            _patches(place, rows, _rows_below(place, x, first, rows)),
            above,
        )
        return lax.dynamic_update_slice_in_dim(kernel, product, first, axis=0)

    kernel = jnp.zeros((*place.out_shape, channels * place.taps, features), x.dtype)
    return _each_block(place, batch, channels * x.itemsize, block, kernel)


linear, transpose, gradient = trilinear(_linear, _transpose, _gradient)


def block_rows(rows: int, row_bytes: int, backend: str) -> int:
    """Rows of a block, of `rows` in all, where the patches of one take row_bytes."""
    limit = BLOCK_BYTES.get(backend, BLOCK_BYTES_ELSEWHERE)
    blocks = -(-rows // max(1, limit // max(1, row_bytes)))
    return -(-rows // blocks)


@contextlib.contextmanager
def blocks_for(backend: str | None) -> Iterator[None]:
    """Blocks are those of this backend, by JAX's name; None: of the one that there is.

    For programs that are traced on one machine to know what they would need on another.
    """
    token = _BACKEND.set(backend)
    try:
        yield
    finally:
        _BACKEND.reset(token)


def _each_block(place, batch, bytes_per_tap, block, carry):
    """carry = block(first row, number of rows, carry) for blocks that cover all rows of places.

    bytes_per_tap are those of one tap of one example's patch.
    """
    rows, *others = place.out_shape
    row_bytes = math.prod(others) * place.taps * batch * bytes_per_tap
    size = block_rows(rows, row_bytes, _BACKEND.get() or jax.default_backend())
    whole, rest = divmod(rows, size)
    if whole == 1:
        carry = block(0, size, carry)
    else:
        carry = lax.fori_loop(0, whole, lambda i, carry: block(i * size, size, carry), carry)
    return block(whole * size, rest, carry) if rest else carry


def _pad(place, x):
    padding = [(0, 0, 0), *((low, high, 0) for low, high in place.padding), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), padding)


def _rows_below(place, x, first, rows):
    """The rows of the padded input that the given rows of places see."""
    return lax.dynamic_slice_in_dim(x, first * place.strides[0], _height(place, rows), axis=1)


def _rows_above(place, a, first, rows):
    """Rows of places, and their axes for einsum: a block is best moved, the whole left to XLA."""
    if rows == place.out_shape[0]:
        return a, 'n...o'
    rows = lax.dynamic_slice_in_dim(a, first, rows, axis=1)
    return jnp.moveaxis(rows, 0, -2), '...no'


def _height(place, rows):
    return place.strides[0] * (rows - 1) + place.size[0]


def _patches(place, rows, x):
    """(rows, *others, channels * taps, batch): what each place sees of these rows of input."""
    batch, *below, channels = x.shape
    taps = np.indices(place.size).reshape(len(below), -1)
    places = np.indices((rows, *place.out_shape[1:]))[..., None]
    seen = [
        stride * at + tap[(None,) * len(below)]
        for stride, at, tap in zip(place.strides, places, taps, strict=True)
    ]
    flat = jnp.moveaxis(x, 0, -1).reshape(math.prod(below), channels, batch)
    patches = flat.at[np.ravel_multi_index(seen, below)].get(mode='promise_in_bounds')
    patches = jnp.swapaxes(patches, -3, -2)
    return patches.reshape(rows, *place.out_shape[1:], channels * place.taps, batch)


def _fold(place, rows, patches):
    """The transpose of `_patches`, with the batch last: each input sums what its places hold."""
    *places, inputs, batch = patches.shape
    below = (_height(place, rows), *place.padded_shape[1:])
    patches = patches.reshape(*places, inputs // place.taps, place.taps, batch)
    zero = jnp.zeros((), patches.dtype)
    total = zero
    for tap, offsets in enumerate(np.ndindex(place.size)):
        axes = zip(offsets, places, below, place.strides, strict=True)
        spread = [
            (offset, size - offset - stride * (count - 1) - 1, stride - 1)
            for offset, count, size, stride in axes
        ]
        total = total + lax.pad(patches[..., tap, :], zero, [*spread, (0, 0, 0), (0, 0, 0)])
    return total
