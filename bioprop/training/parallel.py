"""The same pure function on one device or on many, of one process or of several."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bioprop.errors import UserError

AXIS = 'devices'
MODES = ('pmap', 'shard_map')
WHOLE, DIVIDED = PartitionSpec(), PartitionSpec(AXIS)


def compiling() -> bool:
    """Whether programs are compiled: under JAX_DISABLE_JIT a rule sees the numbers themselves."""
    return not jax.config.jax_disable_jit


def compiled(program: Callable, *arguments: Any) -> Callable:
    """A jitted program for these arguments; itself where nothing is compiled."""
    return program.lower(*arguments).compile() if compiling() else program


def available() -> tuple[jax.Device, ...]:
    """The devices that a run takes: all, but one alone where nothing is compiled.

    Raises UserError where several processes would have to share that one.
    """
    if compiling():
        return tuple(jax.devices())
    if jax.process_count() > 1:
        raise UserError('JAX_DISABLE_JIT: programs of several processes must be compiled')
    return tuple(jax.devices()[:1])


def mesh(devices: list[jax.Device]) -> Mesh:
    """Devices on one axis, in their order: those of a process stand together."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def place(tree: Any, devices: int) -> Any:
    """The arrays of a tree, whole on each of the first local devices."""
    if devices == 1:
        return tree
    return jax.device_put(tree, NamedSharding(mesh(jax.local_devices()[:devices]), WHOLE))


def place_on(axis_name: str | None) -> tuple[int, jax.Array | int]:
    """(size of the axis, place on it); (1, 0) without one."""
    if axis_name is None:
        return 1, 0
    return jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)


class Replicas(NamedTuple):
    """Devices that hold the same state and share each batch, and what runs them.

    pmap sees the devices of this process, and its arrays are local; shard_map sees all of them.
    A batch is laid out in the order of the devices, hence each process has one run of it.
    """

    mode: str
    devices: tuple[jax.Device, ...]  # of all processes

    @property
    def local(self) -> list[jax.Device]:
        """Those of this process."""
        return [each for each in self.devices if each.process_index == jax.process_index()]

    @property
    def several_processes(self) -> bool:
        """Whether they belong to more than one."""
        return len(self.local) < len(self.devices)

    def sharding(self, spec: PartitionSpec = WHOLE) -> NamedSharding:
        """Where arrays lie that are whole on every device, or divided among them."""
        seen = self.local if self.mode == 'pmap' else self.devices
        return NamedSharding(mesh(list(seen)), spec)

    def place(self, tree: Any) -> Any:
        """Arrays that are equal in every process, whole on each device."""
        return tree if len(self.devices) == 1 else jax.device_put(tree, self.sharding())

    def make(self, function: Callable, *arguments: Any) -> Any:
        """What the function gives, whole on each device."""
        sharding = None if len(self.devices) == 1 else self.sharding()
        return jax.jit(function, out_shardings=sharding)(*arguments)

    def divide(self, tree: Any) -> Any:
        """This process's run of a batch, leaves (examples, ...), divided among its devices."""
        if len(self.devices) == 1:
            return jax.tree.map(jnp.asarray, tree)
        if self.mode == 'pmap':
            local = len(self.local)
            tree = jax.tree.map(lambda x: x.reshape(local, -1, *x.shape[1:]), tree)
        make = jax.make_array_from_process_local_data
        return jax.tree.map(lambda x: make(self.sharding(DIVIDED), x), tree)

    def spread(
        self, function: Callable, arguments: tuple, divided: int = 0, donate: tuple[int, ...] = ()
    ) -> Callable:
        """Compiles function(*arguments, axis_name=...) for these arguments.

        The last `divided` of them are from `divide`, and the function sees one device's share; the
        others, and the results, are whole everywhere. The function makes its results agree by a
        mean or a sum over the axis. On one device axis_name is None. `donate` gives arguments away
        to the results; pmap keeps them.
        """
        if len(self.devices) == 1:
            return compiled(jax.jit(function, donate_argnums=donate), *arguments)
        if self.mode == 'pmap':
            return self._pmap(function, arguments, divided)
        whole = len(arguments) - divided
        mapped = jax.shard_map(
            lambda *arguments: function(*arguments, axis_name=AXIS),
            mesh=mesh(list(self.devices)),
            in_specs=(WHOLE,) * whole + (DIVIDED,) * divided,
            out_specs=WHOLE,
            check_vma=False,
        )
        return compiled(jax.jit(mapped, donate_argnums=donate), *arguments)

    def _pmap(self, function, arguments, divided):
        whole = len(arguments) - divided
        mapped = jax.pmap(
            lambda _, *arguments: function(*arguments, axis_name=AXIS),
            axis_name=AXIS,
            in_axes=(0, *(None,) * whole, *(0,) * divided),
            out_axes=None,
            devices=None if self.several_processes else self.local,
        )
        places = jnp.arange(len(self.local))
        if not self.several_processes:  # pmap compiles ahead for the shapes of all processes
            mapped = compiled(mapped, places, *arguments)
        return lambda *arguments: mapped(places, *arguments)

    def meet(self, place: str) -> None:
        """Waits there for the other processes."""
        if self.several_processes:
            multihost_utils.sync_global_devices(place)

    def agree(self, opinion: bool) -> bool:
        """That of the first process."""
        if not self.several_processes:
            return opinion
        return bool(multihost_utils.broadcast_one_to_all(np.array(opinion)))

    def shared(self, tree: Any) -> Any:
        """Whole arrays as those of all processes, as a checkpoint takes them."""
        if self.mode == 'shard_map' or not self.several_processes:
            return tree
        return self._with(NamedSharding(mesh(list(self.devices)), WHOLE), tree)

    def own(self, tree: Any) -> Any:
        """What `shared` gave, as this process's again."""
        if self.mode == 'shard_map' or not self.several_processes:
            return tree
        return self._with(self.sharding(), tree)

    @staticmethod
    def _with(sharding: NamedSharding, tree: Any) -> Any:
        def view(x):
            parts = [part.data for part in x.addressable_shards]
            return jax.make_array_from_single_device_arrays(x.shape, sharding, parts)

        return jax.tree.map(view, tree)
