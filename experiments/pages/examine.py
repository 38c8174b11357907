"""A run looked into at its checkpoints, which may be those of a run in training."""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pandas as pd

from bioprop.records.frames import config_of
from bioprop.running.opened import checkpoints
from bioprop.running.run import Run, make_run
from bioprop.settings.keys import completed
from bioprop.training.diagnosis import diagnose_batch
from bioprop.training.images import Images
from experiments.analysis.measured import PARTS, apart
from experiments.analysis.spreads import tabulated
from experiments.pages.page import NOTHING


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

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each number, as of `experiments.analysis.measured`."""
        keys = {'checkpoint': self.checkpoint, 'part': self.part}
        return apart(pd.DataFrame([keys | self.numbers]), list(keys))


def examine(workdir: Path, names: Sequence[str], images: int) -> Iterator[Look]:
    """The diagnostics at each checkpoint, on the first training and validation images.

    Raises UserError if the data set is not there, or a checkpoint is damaged.
    """
    if not (workdir / 'checkpoints').exists():
        return
    config = {'diagnostics': ','.join(names), 'diagnostics_every': 1, 'accumulate': 1}
    run = make_run(completed(config_of(workdir)) | config)
    parts = {part: first_images(run, part, images) for part in PARTS}
    measure = jax.jit(functools.partial(diagnose_batch, run.learner))
    for saved in checkpoints(workdir, run):
        for part, first in parts.items():
            numbers = jax.device_get(measure(saved.state, run.hparams, first))
            yield Look(
                saved.step, saved.step / run.steps_per_epoch, saved.best, part, len(first.image),
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


def cells(look: Look) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: metrics, layers as columns, and the net as a whole."""
    found = look.frame.sort_values('layer', kind='stable', na_position='last')
    column = found.layer.map('layer {:.0f}'.format).where(found.layer.notna(), 'net')
    found = found.assign(column=column, text=[_cell(each) for each in found.itertuples()])
    found = found.drop_duplicates(['metric', 'column'])
    wide = found.pivot(index='metric', columns='column', values='text').fillna(NOTHING)
    wide = wide.reindex(look.frame.metric.unique()).reindex(columns=column.unique())
    return ['mean ± over images', *wide], wide.reset_index().values.tolist()


def _cell(found) -> str:
    digits = '.1f' if '_angle' in found.metric else '.3g'
    values = [found.value] + [found.over_images] * pd.notna(found.over_images)
    return ' ± '.join(f'{value:{digits}}' for value in values)


def text(look: Look) -> str:
    """The table of a look, for the console."""
    header, rows = cells(look)
    return f'{look.title}\n{tabulated(rows, header)}\n'


def as_records(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For a JSON file; None stands where a number is not finite."""
    return [
        each._asdict()
        | {'numbers': {k: x if math.isfinite(x) else None for k, x in each.numbers.items()}}
        for each in looks
    ]
