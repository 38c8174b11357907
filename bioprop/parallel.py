"""The same pure function on one device or on several."""

from collections.abc import Callable

import jax

AXIS = 'devices'


def spread(function: Callable, devices: int, donate: tuple[int, ...] = ()) -> Callable:
    """Compiles function(*arguments, axis_name=...) for that many devices.

    Arguments and results are whole on every device; the function takes its own share of the work
    by its place on the axis, and makes its results agree by a mean or sum over it. On one device
    axis_name is None.
    """
    if devices == 1:
        return jax.jit(function, donate_argnums=donate)
    return jax.pmap(
        lambda *arguments: function(*arguments, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=None,
        out_axes=None,
        axis_size=devices,
        devices=jax.local_devices()[:devices],
    )
