"""One run, from a resolved configuration to the summary in its workdir."""

import contextlib
import functools
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.records.weights_and_biases import Tracker, tracked
from bioprop.records.workdir import opened
from bioprop.records.writers import Console, Metrics
from bioprop.running.feeds import Resident, Streamed, make_feed
from bioprop.running.loop import Loop, Member, Scores
from bioprop.running.preemption import watched
from bioprop.running.report import banner, parts_of, rounded, scores_of
from bioprop.running.run import Call, Run, make_run
from bioprop.training.learner import TrainState, init_state
from bioprop.training.parallel import Replicas, available


class Diverged(UserError):
    """Training met a number that is not finite."""


def train(config: dict[str, Any], workdir: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for config['epochs'], from the last checkpoint in the workdir on; returns the summary.

    With several processes each calls this, with one workdir that all of them can read; the first
    writes. Raises Diverged when a number is not finite, Preempted when told to end, and UserError
    for bad input; what was saved is kept.
    """
    replicas = Replicas(config['parallel'], available())
    run = make_run(config, len(replicas.devices))
    with contextlib.ExitStack() as stack:
        tracker = _enter(stack, workdir, config, overrides, run, replicas)
        return _train(stack, config, workdir, run, replicas, tracker)


def _enter(stack, workdir, config, overrides, run, replicas) -> Tracker | None:
    """The first process owns the workdir until the stack closes; the others hear if it cannot.

    It alone has a tracker, where one is asked for.
    """
    refusal, tracker = None, None
    if jax.process_index() == 0:
        try:
            stack.enter_context(
                opened(workdir, config, overrides, run.data.identity, workdir / 'checkpoints')
            )
            tracker = stack.enter_context(tracked(config, workdir))
        except (UserError, OSError) as error:
            refusal = error
    if not replicas.agree(refusal is None):
        raise refusal or UserError('the first process was refused the workdir, and says why')
    return tracker


class Alone:
    """The only member of its own, on one device or on many: a `Trainee`."""

    keeps_best = False

    def __init__(
        self,
        run: Run,
        replicas: Replicas,
        feed: Resident | Streamed,
        state: TrainState,
        checkpoints: Checkpoints,
    ):
        self._run, self._replicas, self._feed = run, replicas, feed
        self._state, self._checkpoints = state, checkpoints

    @property
    def state(self) -> TrainState:
        """As a checkpoint takes it."""
        return self._replicas.shared(self._state)

    def compile(self, call: Call) -> None:
        """Makes ready what `train` runs."""
        self._program = self._feed.program(call)

    def train(self, call: Call) -> list[dict[str, Any]]:
        """The metrics, with 'finite' and 'measured'."""
        self._state, values = self._program(self._state)
        return [values]

    def freeze(self, alive: np.ndarray) -> None:
        """It ends by itself."""

    def diagnose(self) -> list[Scores]:
        """On validation images."""
        return [self._feed.diagnose(self._state)]

    def scores(self, part: str) -> list[Scores]:
        """Of a part of the data."""
        return [self._score(self._state, part)]

    def keep_best(self, improved: np.ndarray) -> None:
        """Its checkpoint does."""

    def best_scores(self, part: str, steps: Sequence[int | None]) -> list[Scores]:
        """Of the checkpoint of that step."""
        best = self._checkpoints.restore(steps[0], self.state)
        return [self._score(self._replicas.own(best), part)]

    def _score(self, state: TrainState, part: str) -> Scores:
        return scores_of(self._run.learner, part, *self._feed.sums(state.weights, part))


def _train(stack, config, workdir, run, replicas, tracker):
    first = jax.process_index() == 0  # the process that writes
    init = functools.partial(init_state, run.learner)
    state = replicas.make(lambda seed: init(jax.random.key(seed), run.hparams), config['seed'])

    # -- Where the last process left off
    checkpoints = Checkpoints(workdir / 'checkpoints')
    stack.callback(checkpoints.close)
    position, state = checkpoints.restore_latest(replicas.shared(state))
    state = replicas.own(state)
    metrics = Metrics(workdir, position, writes=first, tracker=tracker)
    stack.callback(metrics.close)
    if position != (metrics.records[-1]['step'] if metrics.records else 0):
        raise UserError(
            f'{workdir / "metrics.jsonl"} lacks records up to step {position}, where the last '
            'checkpoint stands. Restore it, or start again in another --workdir.'
        )
    console = Console(sys.stdout if first else io.StringIO())
    console.banner(banner(config, run, state, workdir, position))
    feed = make_feed(run, replicas, config, state)
    feed.compile_sums(parts_of(run.learner))

    loop = Loop(
        run, [Member(config, metrics)],
        Alone(run, replicas, feed, state, checkpoints), checkpoints, console, np.array([True]),
        stack.enter_context(watched()), replicas.agree,
    )  # fmt: skip
    (found,) = loop.train(position)
    if found['diverged']:
        raise Diverged(
            f'diverged in epoch {loop.epoch}: a number is not finite. Run the same command '
            'with a smaller --config.lr (or feedback_lr): it starts afresh in the same '
            'workdir, and what this run left is kept there in a folder of its own.'
        )
    console.banner((name, rounded(value)) for name, value in found.items())
    return found
