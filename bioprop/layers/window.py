"""Windows: where a kernel of a given size meets its input, along any number of spatial axes."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import jax


class Window(NamedTuple):
    """A kernel laid over every stride-th place of a padded input; one entry for each axis."""

    in_shape: tuple[int, ...]  # without batch and channels, before padding
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # zeros added below and above

    @property
    def padded_shape(self) -> tuple[int, ...]:
        """Of the input with its padding."""
        return tuple(n + sum(pad) for n, pad in zip(self.in_shape, self.padding, strict=True))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The number of places along each axis."""
        axes = zip(self.padded_shape, self.size, self.strides, strict=True)
        return tuple((n - size) // stride + 1 for n, size, stride in axes)

    @property
    def taps(self) -> int:
        """Inputs that one place sees, per channel."""
        return math.prod(self.size)

    @property
    def sights(self) -> float:
        """Places that see one input, in the mean over the inputs; taps on padding count too."""
        return self.taps * math.prod(self.out_shape) / math.prod(self.in_shape)


Padding = str | int | Sequence[int | tuple[int, int]]


def window(
    in_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = 'SAME',
) -> Window:
    """A window over an input of that spatial shape.

    An integer stands for one on each axis. padding is 'SAME', 'VALID', an integer, or for each
    axis an integer or a pair (below, above). Raises ValueError for what does not fit.
    """
    in_shape = tuple(in_shape)
    if not in_shape:
        raise ValueError(f'a kernel of {kernel_size} needs an input with spatial axes')
    size = each_axis('kernel_size', kernel_size, len(in_shape))
    strides = each_axis('strides', strides, len(in_shape))
    if isinstance(padding, str):
        if padding not in ('SAME', 'VALID'):
            raise ValueError(f"padding must be 'SAME', 'VALID' or numbers, not {padding!r}")
        padding = jax.lax.padtype_to_pads(in_shape, size, strides, padding)
    made = Window(in_shape, size, strides, _pairs(padding, len(in_shape)))
    if min(made.out_shape) < 1:
        raise ValueError(f'a kernel of {size} does not fit on an input of {made.padded_shape}')
    return made


def each_axis(name: str, value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis, from one for all of them or one for each; else a ValueError."""
    values = (value,) * axes if isinstance(value, Integral) else tuple(value)
    if len(values) != axes or not _from(1, values):
        raise ValueError(
            f'{name} {value!r} must be a number, or one for each of {axes} axes, from 1 on'
        )
    return values


def _pairs(padding: int | Sequence, axes: int) -> tuple[tuple[int, int], ...]:
    each = (padding,) * axes if isinstance(padding, Integral) else padding
    pairs = tuple((pad, pad) if isinstance(pad, Integral) else tuple(pad) for pad in each)
    if len(pairs) != axes or not all(len(pair) == 2 and _from(0, pair) for pair in pairs):
        raise ValueError(f'padding {padding!r} must give {axes} pairs of numbers from 0 on')
    return pairs


def _from(least: int, values: Sequence) -> bool:
    return all(isinstance(value, Integral) and value >= least for value in values)
