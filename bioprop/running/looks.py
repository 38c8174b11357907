"""A run looked into at its checkpoints, which may be those of a run in training."""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bioprop.running.opened import checkpoints, configuration
from bioprop.running.run import Run, make_run
from bioprop.training.diagnosis import diagnose_batch
from bioprop.training.images import Images

PARTS = ('train', 'validation')  # of the data


class Look(NamedTuple):
    """What was measured at a checkpoint on images of a part."""

    step: int
    epoch: float
    best: bool  # whether it is that of the lowest validation score
    part: str
    images: int
    numbers: dict[str, float]

    @property
    def checkpoint(self) -> str:
        """'epoch 3 (best)'"""
        return f'epoch {self.epoch:.4g}{" (best)" if self.best else ""}'

    @property
    def title(self) -> str:
        """'epoch 3 (best), validation: 1,000 images'"""
        return f'{self.checkpoint}, {self.part}: {self.images:,} images'


def examine(workdir: Path, names: Sequence[str], images: int) -> Iterator[Look]:
    """The diagnostics at each checkpoint, on the first training and validation images.

    Raises UserError if the data set is not there, or a checkpoint is damaged.
    """
    if not (workdir / 'checkpoints').exists():
        return
    config = {'diagnostics': ','.join(names), 'diagnostics_every': 1, 'accumulate': 1}
    run = make_run(configuration(workdir) | config)
    parts = {part: first_images(run, part, images) for part in PARTS}
    measure = jax.jit(functools.partial(diagnose_batch, run.learner))
    for saved in checkpoints(workdir, run):
        for part, first in parts.items():
            numbers = jax.device_get(measure(saved.state, run.hparams, first))
            yield Look(
                saved.step, run.epoch(saved.step), saved.best, part, len(first.image),
                {name: float(value) for name, value in numbers.items()},
            )  # fmt: skip


def first_images(run: Run, part: str, count: int) -> Images:
    """Those of a part, as many as it has at most; of a stream those that can be decoded."""
    count = min(count, run.data.parts[part].examples)
    found = run.parts[part]
    if isinstance(found, Images):
        return found.at(jnp.arange(count))
    image, label, valid = next(found.once(count))
    mean, std = (jnp.asarray(x, float) for x in (run.data.mean, run.data.std))
    return Images(jnp.asarray(image[valid]), jnp.asarray(label[valid]), mean, std)


def as_records(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For a JSON file; None stands where a number is not finite."""
    return [
        each._asdict()
        | {'numbers': {k: x if math.isfinite(x) else None for k, x in each.numbers.items()}}
        for each in looks
    ]
