"""A run at Weights & Biases: the curves that TensorBoard has, its settings and its summary.

The package wandb is imported only where config.wandb_project names a project. Its variables hold,
such as WANDB_MODE=offline, WANDB_ENTITY and WANDB_RUN_GROUP. What it writes is in the workdir.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bioprop.errors import UserError, say

IDENTIFIER = 'wandb_id'  # a file in the workdir, so that a run goes on as the same one there


class Tracker:
    """A run of wandb's. Should one of its calls fail, this is said, and no other is made."""

    def __init__(self, run: Any):
        self._run, self._lost, self._ended = run, False, False

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Adds one point to each curve. Of a step before the last one W&B takes no more points."""
        self._call(lambda run: run.log(numbers, step=step))

    def finish(self, summary: dict[str, Any]) -> None:
        """Tells the summary."""
        self._call(lambda run: run.summary.update(summary))
        self._ended = True

    def close(self) -> None:
        """Waits until all is sent. Without a summary the run counts as failed until it goes on."""
        self._call(lambda run: run.finish(exit_code=int(not self._ended)))

    def _call(self, function: Callable[[Any], object]) -> None:
        if self._lost:
            return
        try:
            function(self._run)
        except Exception as error:  # of any kind: a run is worth more than its curves there
            self._lost = True
            say(f'Weights & Biases has failed, and the run goes on without it: {error}')


@contextlib.contextmanager
def tracked(config: dict[str, Any], workdir: Path) -> Iterator[Tracker | None]:
    """The run at W&B of a resolved configuration; None where no project is named.

    It begins, or goes on, in a workdir that is there. Raises UserError if wandb is not installed,
    or refuses.
    """
    if not config.get('wandb_project'):  # a study of before it was a key lacks it
        yield None
        return
    tracker = Tracker(_begin(config, workdir.resolve()))
    try:
        yield tracker
    finally:
        tracker.close()


def _begin(config, workdir):
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            "config.wandb_project needs the package wandb: pip install 'bioprop[wandb]'"
        ) from error
    try:
        return wandb.init(
            project=config['wandb_project'], name=workdir.name, id=_identifier(workdir),
            dir=workdir, config=config, resume='allow', allow_val_change=True,
            reinit='create_new', settings=wandb.Settings(console='off', quiet=True),
        )  # fmt: skip
    except Exception as error:  # wandb's own, pydantic's, those of the network
        raise UserError(
            f'config.wandb_project={config["wandb_project"]!r}: Weights & Biases cannot begin '
            f'({error}). WANDB_MODE=offline needs neither account nor network; without the key '
            'the run goes on with TensorBoard alone.'
        ) from error


def _identifier(workdir: Path) -> str:
    path = workdir / IDENTIFIER
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text()
