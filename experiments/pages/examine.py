"""A run looked into at its checkpoints, which may be those of a run in training."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from tabulate import tabulate

from bioprop.records.checkpoint import read_all
from bioprop.running.report import best_of, evaluations, measure_of
from bioprop.running.run import Run, make_run
from bioprop.settings.keys import completed
from bioprop.training.diagnosis import diagnose_batch
from bioprop.training.images import Images
from bioprop.training.learner import init_state
from experiments.analysis import results
from experiments.analysis.measured import (
    LAYER,
    PARTS,
    SPREAD,
    Numbers,
    layers_of,
    name_of,
    place_of,
)
from experiments.pages.page import NOTHING


class Look(NamedTuple):
    """What was measured at a checkpoint on images of a part."""

    step: int
    epoch: float
    best: bool  # whether it is that of the lowest validation score
    part: str
    images: int
    numbers: Numbers

    @property
    def checkpoint(self) -> str:
        """'epoch 3 (best)'"""
        return f'epoch {self.epoch:.4g}{" (best)" if self.best else ""}'

    @property
    def title(self) -> str:
        """'epoch 3 (best), validation: 1,000 images'"""
        return f'{self.checkpoint}, {self.part}: {self.images:,} images'


def examine(trained: results.Run, names: Sequence[str], images: int) -> Iterator[Look]:
    """The diagnostics at each checkpoint, on the first training and validation images.

    Raises UserError if the data set is not there, or a checkpoint is damaged.
    """
    folder = trained.folder / 'checkpoints'
    if not folder.exists():  # none yet, or of a population, which keeps no weights
        return
    config = {'diagnostics': ','.join(names), 'diagnostics_every': 1, 'accumulate': 1}
    run = make_run(completed(trained.config) | config)
    parts = {part: first_images(run, part, images) for part in PARTS}
    measure = jax.jit(functools.partial(diagnose_batch, run.learner))
    records = trained.records()
    best = best_of(records, measure_of(run.learner.loss))['step'] if evaluations(records) else None
    like = init_state(run.learner, jax.random.key(run.seed), run.hparams)
    for number, state in read_all(folder, like):
        for part, first in parts.items():
            numbers = jax.device_get(measure(state, run.hparams, first))
            yield Look(
                number, run.epoch(number), number == best, part, len(first.image),
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


def cells(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: metrics, layers as columns, and the net as a whole."""
    metrics = dict.fromkeys(place_of(name)[0] for name in numbers if not name.endswith(SPREAD))
    layers = sorted({l for metric in metrics for l in layers_of(numbers, metric)})
    rows = [
        [
            metric,
            *(_cell(numbers, f'{metric}/{LAYER}{l}') for l in layers),
            _cell(numbers, name_of(metric, 'total'), metric),
        ]
        for metric in metrics
    ]
    return ['mean ± over images', *(f'layer {l}' for l in layers), 'net'], rows


def _cell(numbers: Numbers, *names: str) -> str:
    """Of the first name that is there, and its spread where it has one."""
    name = next((name for name in names if name in numbers), None)
    if name is None:
        return NOTHING
    digits = '.1f' if '_angle' in name else '.3g'
    found = [numbers[each] for each in (name, name + SPREAD) if each in numbers]
    return ' ± '.join(f'{value:{digits}}' for value in found)


def text(look: Look) -> str:
    """The table of a look, for the console."""
    header, rows = cells(look.numbers)
    align = ('left', *['right'] * (len(header) - 1))
    table = tabulate(rows, header, disable_numparse=True, colalign=align)
    return f'{look.title}\n{table}\n'


def as_records(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For a JSON file; None stands where a number is not finite."""
    return [
        look._asdict()
        | {
            'numbers': {
                name: value if math.isfinite(value) else None
                for name, value in look.numbers.items()
            }
        }
        for look in looks
    ]
