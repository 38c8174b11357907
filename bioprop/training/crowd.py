"""One function over the many members of a population, on one device or several."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from bioprop.training.parallel import DIVIDED, compiled, compiling, mesh, place

# Members side by side. A core of a CPU is filled by one; elsewhere as many as there are.
WIDTH = {'cpu': 1}


class Crowd:
    """How a number of members is divided: equally among the devices, the last one filling up."""

    def __init__(self, members: int):
        self.members = members
        self.devices = min(members, jax.local_device_count()) if compiling() else 1
        self.share = -(-members // self.devices)

    def divide(self, tree: Any) -> Any:
        """From leaves (members, ...) to the devices."""
        if self.devices == 1:
            return jax.tree.map(jnp.asarray, tree)
        number = np.minimum(np.arange(self.devices * self.share), self.members - 1)
        sharding = NamedSharding(mesh(jax.local_devices()[: self.devices]), DIVIDED)

        def divide(leaf):
            leaf = leaf[number].reshape(self.devices, self.share, *leaf.shape[1:])
            return jax.device_put(leaf, sharding)

        return jax.tree.map(divide, tree)

    def gather(self, tree: Any) -> Any:
        """From the devices to leaves (members, ...) on the first of them."""
        if self.devices == 1:
            return tree
        return jax.tree.map(self._on_first, tree)

    def _on_first(self, leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(self._on_first(jax.random.key_data(leaf)))
        return jax.device_put(self._on_host(leaf), jax.local_devices()[0])

    def _on_host(self, leaf: jax.Array) -> np.ndarray:
        # Not by programs: those of several leaves, with a collective each, can lock each other out.
        leaf = np.array(leaf)
        return leaf if self.devices == 1 else leaf.reshape(-1, *leaf.shape[2:])[: self.members]

    def host(self, tree: Any) -> Any:
        """From the devices to NumPy arrays (members, ...)."""
        return jax.tree.map(self._on_host, tree)

    def everywhere(self, tree: Any) -> Any:
        """What all members share, whole on each device."""
        return place(tree, self.devices)

    def each(
        self, function: Callable, own: tuple, shared: tuple = (), donate: bool = False
    ) -> Callable:
        """Compiles function(*own, *shared) for every member, for these arguments.

        own is divided, shared is everywhere; `donate` gives the first of own away to the results.
        As many members train side by side as fit into the memory of a device.
        """
        most = WIDTH.get(jax.default_backend(), self.share) if compiling() else 1
        width = min(self.share, most)
        compiled = self._compile(function, own, shared, donate, width)
        while width > 1 and program_bytes(compiled) > memory():
            width = -(-width // 2)
            compiled = self._compile(function, own, shared, donate, width)
        return lambda *arguments: compiled(
            arguments[0], arguments[1 : len(own)], arguments[len(own) :]
        )

    def _compile(self, function, own, shared, donate, width):
        def share(first, rest, shared):
            def one(member):
                return function(*member, *shared)

            if width == 1:
                return jax.lax.map(one, (first, *rest))
            return jax.lax.map(one, (first, *rest), batch_size=width)

        given_away = (0,) if donate else ()
        if self.devices == 1:
            program = jax.jit(share, donate_argnums=given_away)
        else:
            program = jax.pmap(
                share,
                # Nested, for pmap takes three plain axes to be those of three leaves.
                in_axes=(0, 0, (None,) * len(shared)),
                donate_argnums=given_away,
                devices=jax.local_devices()[: self.devices],
            )
        return compiled(program, own[0], own[1:], shared)


def program_bytes(compiled: jax.stages.Compiled) -> int:
    """All that a program needs of a device: arguments, results not among them, temporaries."""
    needs = compiled.memory_analysis()
    return (
        needs.argument_size_in_bytes
        + needs.output_size_in_bytes
        - needs.alias_size_in_bytes
        + needs.temp_size_in_bytes
    )


def memory() -> int:
    """The bytes of a device; those of a CPU share the machine's."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return stats['bytes_limit']
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // jax.local_device_count()
