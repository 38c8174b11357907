"""The same pure function on one device or on several."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = 'devices'


def mesh(devices: int) -> Mesh:
    """The first local devices, on one axis."""
    return jax.make_mesh(
        (devices,), (AXIS,), (AxisType.Auto,), devices=jax.local_devices()[:devices]
    )


def place(tree: Any, devices: int) -> Any:
    """The arrays of a tree, whole on each of that many devices."""
    if devices == 1:
        return tree
    return jax.device_put(tree, NamedSharding(mesh(devices), PartitionSpec()))


def spread(
    function: Callable, devices: int, arguments: tuple, donate: tuple[int, ...] = ()
) -> Callable:
    """Compiles function(*arguments, axis_name=...) for that many devices and these arguments.

    Arguments and results are whole on every device (see `place`); the function takes its own share
    of the work by its place on the axis, and makes its results agree by a mean or a sum over it.
    On one device axis_name is None, and `donate` gives arguments away to the results.
    """
    if devices == 1:
        return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
    mapped = jax.pmap(
        lambda _, arguments: function(*arguments, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(0, None),
        out_axes=None,
        devices=jax.local_devices()[:devices],
    )
    places = jnp.arange(devices)
    compiled = mapped.lower(places, arguments).compile()
    return lambda *arguments: compiled(places, arguments)
