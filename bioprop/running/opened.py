"""A run of a workdir opened again: what it trained, and its weights."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.data.sets import Dataset
from bioprop.errors import UserError, unknown
from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.records import earlier
from bioprop.records.checkpoint import read_all
from bioprop.records.frames import config_of, lines
from bioprop.rules.base import Rule, Weights
from bioprop.running.report import evaluations, measure_of
from bioprop.running.run import Run, make_run
from bioprop.settings.keys import completed
from bioprop.training.evaluation import predict
from bioprop.training.images import Images
from bioprop.training.learner import Hparams, Learner, TrainState, init_state


class Opened(NamedTuple):
    """A trained network, and what it was trained by."""

    network: Network
    rule: Rule
    loss: Loss
    weights: Weights
    config: dict[str, Any]
    hparams: Hparams
    step: int  # that the weights stand at
    epoch: float
    data: Dataset

    def predict(self, images: np.ndarray) -> jax.Array:
        """The logits, (n, outputs), of images as the data set holds them.

        images is uint8, (n, height, width, channels); they are standardised as in training.
        """
        size = self.config['eval_batch_size']
        parts = range(0, len(images), size)
        return jnp.concatenate([self._logits(images[i : i + size], i) for i in parts])

    def inputs(self, images: np.ndarray) -> jax.Array:
        """What the network sees of such images."""
        mean, std = (jnp.asarray(x, float) for x in (self.data.mean, self.data.std))
        return Images(jnp.asarray(images), None, mean, std).batch()['image']

    def _logits(self, images, first):
        learner = Learner(
            self.network, self.rule, self.loss, {}, precision=self.config['precision']
        )
        places = first + jnp.arange(len(images))
        return predict(learner, self.weights, self.hparams, self.inputs(images), places)


def open_run(workdir: Path | str, which: str = 'best') -> Opened:
    """The run of a workdir, finished or in training, which is not disturbed.

    Its weights are the 'best' by validation, or the 'last', of the checkpoints that there are.
    Raises UserError for a workdir without run or without such a checkpoint, for a damaged one, and
    if the data set is not there.
    """
    if which not in KINDS:
        raise unknown('kind of weights', which, KINDS)
    workdir = Path(workdir)
    config, saved = configuration(workdir), None
    if (workdir / 'checkpoints').exists():
        run = make_run(config)
        saved = min(checkpoints(workdir, run), key=KINDS[which], default=None)
    if saved is None:
        raise UserError(
            f'{workdir} has no checkpoints: weights are left by a run of bioprop.main, after its '
            'first save; the populations of studies keep none'
        )
    if which == 'best' and math.isinf(saved.score):
        raise UserError(f"{workdir} has not been evaluated at a checkpoint yet: ask for 'last'")
    learner = run.learner
    return Opened(
        learner.network, learner.rule, learner.loss, saved.state.weights, config, run.hparams,
        saved.step, run.epoch(saved.step), run.data,
    )  # fmt: skip


def configuration(workdir: Path) -> dict[str, Any]:
    """Of a run, with every key. Raises UserError if there is none, or an earlier bioprop's."""
    config = config_of(workdir)
    earlier.refuse(workdir / 'config.json')
    return completed(config)


class Saved(NamedTuple):
    """A checkpoint."""

    step: int
    score: float  # of validation; infinite where it was not evaluated
    best: bool  # whether that is the lowest of the run
    state: TrainState


def checkpoints(workdir: Path, run: Run) -> Iterator[Saved]:
    """Those of a run that may be in training, in order. Raises UserError for a damaged one."""
    if not (workdir / 'checkpoints').exists():  # none yet, or of a population, which keeps none
        return
    measure = f'validation_{measure_of(run.learner.loss)}'
    scores = {record['step']: record[measure] for record in evaluations(lines(workdir))}
    best = min(scores, key=scores.get, default=None)  # the first of equals
    like = init_state(run.learner, jax.random.key(run.seed), run.hparams)
    for step, state in read_all(workdir / 'checkpoints', like):
        yield Saved(step, scores.get(step, math.inf), step == best, state)


# The weights that can be asked for, by what is least in their checkpoint.
KINDS = {'best': lambda saved: saved.score, 'last': lambda saved: -saved.step}
