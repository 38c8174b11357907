"""Checkpoints: orbax, asynchronous. The last two are kept, and the best."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from bioprop.errors import UserError, say

PIECE = 1 << 24  # bytes read at a time
SHOWN = 5  # arrays that a refusal names
MARGIN = 1_000_000  # bytes that a save asks for beyond the state itself
DELETING = 1.0  # seconds that the deletion of a checkpoint takes, at most


class Damaged(UserError):
    """A checkpoint whose files can be read, and do not hold what was saved."""


class Checkpoints:
    """The checkpoints of one run, by step. Opened read_only, nothing of them is changed."""

    def __init__(self, folder: Path, read_only: bool = False):
        self.folder = folder.absolute()
        options = _reading() if read_only else _keeping()
        self._manager = ocp.CheckpointManager(
            self.folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    @property
    def steps(self) -> list[int]:
        """Of all that there are, in order."""
        return sorted(self._manager.all_steps())

    def restore_latest(self, like: Any) -> tuple[int, Any]:
        """(step, state) of the last one that is whole; (0, like) before the first.

        A damaged one after it is moved aside, and said. Raises Damaged if none is whole, and
        UserError, with nothing touched, for one that cannot be read or is of another run.
        """
        steps = self.steps[::-1]
        if not steps:
            return 0, like
        for number, step in enumerate(steps, start=1):
            try:
                state = self.restore(step, like)
            except Damaged:
                if number == len(steps):
                    raise
            else:
                self._move_aside(steps[: number - 1])
                return step, state

    def _move_aside(self, steps: Sequence[int]) -> None:
        for step in steps:
            aside = self.folder.parent / f'damaged-checkpoint-{step}'
            if jax.process_index() == 0:
                (self.folder / str(step)).rename(aside)
                say(
                    f'checkpoint {step} is damaged, the one before it is used; '
                    f'it was moved to {aside}'
                )
        if steps:
            if jax.process_count() > 1:
                multihost_utils.sync_global_devices('damaged checkpoints')
            self._manager.reload()

    def save(self, step: int, state: Any, rank: float | None = None) -> None:
        """Starts to save. Of the checkpoints with a rank, the one of the lowest is the best.

        Raises UserError if there is no room for it, or if the save before has failed.
        """
        self.wait()
        needed = MARGIN + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f'the disk of {self.folder} is full: a checkpoint needs {needed / 1e6:,.0f} MB and '
                f'{free / 1e6:,.0f} MB are free. Make room and run the same command: it goes on '
                f'from {self._last_good()}.'
            )
        metrics = None if rank is None else {'rank': [rank, step]}
        with self._explained():
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)

    def wait(self) -> None:
        """Returns when all that was started is saved. Raises UserError if it could not be."""
        with self._explained():
            self._manager.wait_until_finished()

    def restore(self, step: int, like: Any) -> Any:
        """The state at that step, with the shapes, types and placement of `like`.

        Raises Damaged if what it holds is broken, UserError if it is missing, cannot be read or
        holds other arrays.
        """
        if step not in self.steps:
            raise UserError(
                f'{self.folder} has no checkpoint {step}, which metrics.jsonl gives as the best. '
                'Restore it, or start again in another --workdir.'
            )
        try:
            self._compare(step, like)
            target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except UserError:
            raise
        except Exception as error:  # orbax and tensorstore raise what they like for broken files
            raise self._failure(step, error) from error

    def _compare(self, step: int, like: Any) -> None:
        """Raises UserError if the checkpoint is not of such a state: orbax casts, and says less."""
        held = _arrays(self._manager.item_metadata(step).tree)
        wanted = _arrays(_without_keys(like))
        names = [name for name in wanted | held if wanted.get(name) != held.get(name)]
        if not names:
            return
        lines = [f'  {n}: {held.get(n, "nothing")} -> {wanted.get(n, "nothing")}' for n in names]
        rest = [f'  and {len(names) - SHOWN} more'] if len(names) > SHOWN else []
        raise UserError(
            f'checkpoint {self.folder / str(step)} has other arrays than this run:\n'
            + '\n'.join(lines[:SHOWN] + rest)
            + '\nThe code, a flag of JAX or a library has changed since. Put that back, or start '
            'again in another --workdir. Nothing was changed.'
        )

    def _failure(self, step: int, error: Exception) -> UserError:
        """Why a checkpoint could not be restored. Raises OSError if a file of it cannot be read."""
        told = f'{type(error).__name__}: {str(error).splitlines()[0][:200]}' if str(error) else ''
        if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in told:
            return UserError(f'there is no memory for checkpoint {self.folder / str(step)}: {told}')
        _read_files(self.folder / str(step))
        return Damaged(
            f'checkpoint {self.folder / str(step)} is damaged ({told}). Delete that folder and run '
            'the same command: it continues from the checkpoint before, or from the start.'
        )

    def close(self) -> None:
        """Ends the background work. A failure of it has been raised by `save` or `wait`."""
        with contextlib.suppress(Exception):
            self._manager.close()

    def _last_good(self) -> str:
        step = self._manager.latest_step()
        return 'the start' if step is None else f'step {step:,}'

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """orbax and tensorstore raise what they like when a disk fails."""
        try:
            yield
        except Exception as error:
            raise UserError(
                f'cannot save a checkpoint in {self.folder}: {str(error).splitlines()[0][:200]}. '
                f'Run the same command when that is mended: it goes on from {self._last_good()}.'
            ) from error


def read_all(folder: Path, like: Any) -> Iterator[tuple[int, Any]]:
    """(step, state) of the checkpoints of a run that may be in training: nothing is changed.

    One that the run deletes meanwhile is passed over. Raises UserError for a damaged one.
    """
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        for step in checkpoints.steps:
            try:
                state = checkpoints.restore(step, like)
            except (UserError, OSError):
                time.sleep(DELETING)
                if (folder / str(step)).exists():
                    raise
            else:
                yield step, state
    finally:
        checkpoints.close()


def _without_keys(tree: Any) -> Any:
    """The arrays of a state as they are saved: of the keys of random numbers, their data."""

    def data(leaf):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.eval_shape(jax.random.key_data, leaf) if typed else leaf

    return jax.tree.map(data, tree)


def _arrays(tree: Any) -> dict[str, str]:
    """Types and shapes by path: attributes and places of a tuple are saved by their names."""
    return {
        jax.tree_util.keystr(path, simple=True, separator='.'): f'{leaf.dtype} {tuple(leaf.shape)}'
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _read_files(folder: Path) -> None:
    """Reads every file. Raises OSError if one, or a folder, cannot be read."""
    folder.stat()
    for place, _, files in os.walk(folder, onerror=_raise):
        for name in files:
            with (Path(place) / name).open('rb') as file:
                while file.read(PIECE):
                    pass


def _raise(error: OSError) -> NoReturn:
    raise error


def _keeping() -> ocp.CheckpointManagerOptions:
    keep = checkpoint_managers.AnyPreservationPolicy([
        checkpoint_managers.LatestN(2),
        checkpoint_managers.BestN(
            get_metric_fn=lambda score: score['rank'], reverse=True, n=1,
            keep_checkpoints_without_metrics=False,
        ),
    ])  # fmt: skip
    return ocp.CheckpointManagerOptions(
        preservation_policy=keep,
        cleanup_tmp_directories=True,
        best_fn=lambda score: score['rank'],  # without it ranks are not written
    )


def _reading() -> ocp.CheckpointManagerOptions:
    return ocp.CheckpointManagerOptions(
        read_only=True,
        save_interval_steps=0,
        create=False,
        lightweight_initialize=True,  # ranks are not read: a checkpoint may vanish meanwhile
    )
