"""One exception for whatever is wrong, and the comparisons that find it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE, FLOOR = 1e-8, 1e-12  # of the largest entry of an array, and of any: of doubles


class Fault(AssertionError):
    """What is wrong with a rule or a layer: where, by how much, and what to do."""


def attempt(what: str, function: Callable, *arguments: Any) -> Any:
    """function(*arguments); an exception from within becomes a Fault, said to come from `what`."""
    try:
        return function(*arguments)
    except Fault:
        raise
    except Exception as error:
        reason = str(error).strip().partition('\n')[0]
        raise Fault(f'{what} raises {type(error).__name__}: {reason}') from error


@contextlib.contextmanager
def naming(subject: str) -> Iterator[None]:
    """Faults from within say what was checked."""
    try:
        yield
    except Fault as fault:
        fault.args = (f'{fault} [{subject}]',)
        raise


def same(what: str, found: Any, expected: Any, remedy: str) -> None:
    """Raises Fault unless two trees of arrays agree."""
    words = difference(found, expected)
    if words:
        raise Fault(f'{what}: {words}. {remedy}')


def difference(found: Any, expected: Any) -> str | None:
    """The first array in which two trees of one structure differ, in words; None if none does."""
    others = jax.tree.leaves(expected)
    for (path, one), other in zip(jax.tree.leaves_with_path(found), others, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        if one.shape != other.shape:
            return f'{place(path)} has the shape {one.shape}, not {other.shape}'
        apart = np.abs(one - other)
        if not np.all(apart <= TOLERANCE * np.max(np.abs(other), initial=0) + FLOOR):  # nan is not
            return f'{place(path)} {_how(one, other, apart)}'
    return None


def finite(what: str, tree: Any) -> None:
    """Raises Fault for an array with entries that are not."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not np.all(np.isfinite(leaf)):
            raise Fault(f'{what}: {place(path)} is not finite. Look for divisions, roots and logs')


def like(what: str, found: Any, expected: Any) -> None:
    """Raises Fault unless `found` has the structure, shapes and types of `expected`."""
    if jax.tree.structure(found) != jax.tree.structure(expected):
        raise Fault(
            f'{what} must be built like {jax.tree.structure(expected)}, not like '
            f'{jax.tree.structure(found)}'
        )
    others = jax.tree.leaves(expected)
    for (path, one), other in zip(jax.tree.leaves_with_path(found), others, strict=True):
        for name in ('shape', 'dtype'):
            wrong, right = (getattr(jax.typeof(x), name) for x in (one, other))
            if wrong != right:
                where = f'{what}: {place(path)}' if path else what
                raise Fault(f'{where} has the {name} {wrong}, not {right}')


def place(path: tuple) -> str:
    """The place of an array in a tree, where tuples have an entry for each layer."""
    words = [f'layer {key.idx + 1}' if hasattr(key, 'idx') else str(key.key) for key in path]
    return ', '.join(words) or 'it'


def shaken(tree: Any, random: np.random.Generator, scale: float = 0.3) -> Any:
    """The tree with normal noise on its floating-point arrays."""

    def shake(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf + jnp.asarray(scale * random.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(shake, tree)


def _how(found, expected, apart):
    at = np.unravel_index(np.argmax(apart), apart.shape)
    words = f'is {found[at]:.4g} where {expected[at]:.4g} is expected'
    if found.shape:
        words += f', at {tuple(map(int, at))}'
    factor = np.vdot(found, expected) / np.vdot(expected, expected) if np.any(expected) else 0
    if found.size > 1 and factor and np.allclose(found, factor * expected, rtol=1e-6):
        words += f': {factor:.4g} times what is expected in every entry'
    return words
