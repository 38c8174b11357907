"""Checkpoints: orbax, asynchronous. The last two are kept, and the best."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from bioprop.errors import UserError


class Checkpoints:
    """The checkpoints of one run, by step."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        keep = checkpoint_managers.AnyPreservationPolicy([
            checkpoint_managers.LatestN(2),
            checkpoint_managers.BestN(
                get_metric_fn=lambda score: score['rank'], reverse=True, n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ])  # fmt: skip
        options = ocp.CheckpointManagerOptions(preservation_policy=keep)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, state: Any, rank: tuple | None = None) -> None:
        """Starts to save. Of the checkpoints with a rank, the one of the lowest is the best."""
        metrics = None if rank is None else {'rank': rank}
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)

    def restore(self, step: int, like: Any) -> Any:
        """The state at that step, with the shapes, types and placement of `like`.

        Raises UserError if the checkpoint is damaged.
        """
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # orbax and tensorstore raise what they like for broken files
            raise UserError(
                f'checkpoint {self.folder / str(step)} is damaged '
                f'({type(error).__name__}). Delete that folder and run the same command: it '
                'continues from the checkpoint before, or from the start.'
            ) from error

    def wait(self) -> None:
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()
