"""The training loop: of one run, or of the many members of a population.

What is trained is a `Trainee`; a single run is the only member of its own.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bioprop.records.checkpoint import Checkpoints
from bioprop.records.writers import Console, Metrics
from bioprop.running import report
from bioprop.running.preemption import Preempted
from bioprop.running.run import Call, Run, calls

Scores = dict[str, float]


class Trainee(Protocol):
    """The states of members, and the programs on them. Lists have an entry for each member."""

    keeps_best: bool  # whether the state holds the best weights; else its checkpoint does

    @property
    def state(self) -> Any:
        """What a checkpoint holds."""

    def compile(self, call: Call) -> None:
        """Makes ready what `train` runs."""

    def train(self, call: Call) -> list[dict[str, Any]]:
        """The metrics of each member, with 'finite' and 'measured'."""

    def freeze(self, alive: np.ndarray) -> None:
        """Those that are not alive change no more."""

    def diagnose(self) -> list[Scores]:
        """The numbers of the diagnosis on validation images."""

    def scores(self, part: str) -> list[Scores]:
        """Of a part of the data."""

    def keep_best(self, improved: np.ndarray) -> None:
        """The present weights of these members are their best."""

    def best_scores(self, part: str, steps: Sequence[int | None]) -> list[Scores]:
        """With the best weights, those of these steps; None where there are none."""


class Member(NamedTuple):
    """A run: where it is told."""

    config: dict[str, Any]
    metrics: Metrics

    def finish(self, measure: str, **scores: Any) -> dict[str, Any]:
        """Writes the summary, and returns it."""
        content = report.summarise(self.config, self.metrics.records, measure, **scores)
        self.metrics.finish(content)
        return content


class Loop:
    """Trains members from a step on, and tells of each in its workdir."""

    def __init__(
        self,
        run: Run,
        members: Sequence[Member],
        trainee: Trainee,
        checkpoints: Checkpoints,
        console: Console,
        alive: np.ndarray,
        told_to_end: Callable[[int], bool] = lambda position: False,
        agree: Callable[[bool], bool] = bool,
    ):
        self._run, self._members, self._trainee = run, members, trainee
        self._checkpoints, self._console = checkpoints, console
        self._alive, self._told_to_end, self._agree = alive, told_to_end, agree
        self._config = members[0].config  # what they share
        self._measure = report.measure_of(run.learner.loss)
        self._lowest = np.array(
            [report.lowest_of(each.metrics.records, self._measure) for each in members]
        )
        self._saved, self._spent = time.monotonic(), 0.0
        self.epoch = 0  # that it has come to

    def train(self, position: int) -> list[dict[str, Any]]:
        """Trains from that step to the last one; returns the summaries.

        A member that meets a number that is not finite is frozen, and its summary says so; the
        training ends when none is alive. Raises Preempted when told to end.
        """
        for call in calls(self._config, self._run, position):
            if not self._alive.any():
                break
            self._trainee.compile(call)
            self.epoch, began = call.epoch, time.perf_counter()
            self._train(call)
            if not self._alive.any():
                break
            improved = self._evaluate(call) if call.evaluated else np.zeros_like(self._alive)
            preempted = self._save(call, improved)
            self._spent += time.perf_counter() - began
            self._show(call, position)
            if preempted and not call.last:
                self._checkpoints.wait()
                raise Preempted(
                    f'told to end; saved at step {call.position:,} of {self._run.last_step:,}. '
                    'Run the same command to go on.'
                )
        self._checkpoints.wait()
        return self._finish()

    def _train(self, call: Call) -> None:
        began = time.perf_counter()
        found = self._trainee.train(call)
        seconds = time.perf_counter() - began
        finite = np.array([
            bool(values.pop('finite')) and all(map(math.isfinite, _numbers(values)))
            for values in found
        ])  # fmt: skip
        died = np.flatnonzero(self._alive & ~finite)
        if died.size:
            self._alive = self._alive & finite  # not in place: a CPU's devices may view it
            self._trainee.freeze(self._alive)
        for number in died:
            self._members[number].finish(self._measure, diverged=True)
        every = self._config['diagnostics_every']
        for member, values in self._living(found):
            measured = values.pop('measured')
            for record in report.diagnostics_records(call, measured, every):
                member.metrics.write(record)
            share = seconds / self._alive.sum()
            member.metrics.write(report.train_record(call, values, share, self._run.batch_size))

    def _evaluate(self, call: Call) -> np.ndarray:
        """Whose validation score is lower than ever."""
        if self._run.learner.diagnosis:
            self._tell(call, report.validation_record, self._trainee.diagnose)
        scores = self._tell(call, report.eval_record, self._scores)
        ranks = np.array([each[f'validation_{self._measure}'] for each in scores])
        improved = self._alive & (ranks < self._lowest)
        self._lowest = np.where(improved, ranks, self._lowest)
        self._trainee.keep_best(improved)
        return improved

    def _tell(self, call: Call, record: Callable, look: Callable) -> list[Scores]:
        """A record of each living member, with what a look at all of them found."""
        began = time.perf_counter()
        found = look()
        share = (time.perf_counter() - began) / self._alive.sum()
        for member, numbers in self._living(found):
            member.metrics.write(record(call, numbers, share))
        return found

    def _scores(self) -> list[Scores]:
        found = [{} for _ in self._members]
        for part in report.parts_of(self._run.learner):
            for mine, scores in zip(found, self._trainee.scores(part), strict=True):
                mine |= scores
        return found

    def _save(self, call: Call, improved: np.ndarray) -> bool:
        """Saves where it is time to; returns whether the run was told to end."""
        due = time.monotonic() - self._saved >= self._config['checkpoint_seconds']
        preempted = self._told_to_end(call.position)
        best = not self._trainee.keeps_best and improved.any()
        if self._agree(due) or best or preempted or call.last:
            alone = call.evaluated and not self._trainee.keeps_best
            records = self._members[0].metrics.records
            rank = records[-1][f'validation_{self._measure}'] if alone else None
            self._checkpoints.save(call.position, self._trainee.state, rank)
            self._saved = time.monotonic()
        return preempted

    def _show(self, call: Call, start: int) -> None:
        left = self._spent / (call.position - start) * (self._run.last_step - call.position)
        if len(self._members) == 1:
            records = self._members[0].metrics.records
            line = report.progress_line(self._config, records, self._measure, self._lowest[0], left)
        else:
            line = report.population_line(self._config, call.epoch, self._alive, self._lowest, left)
        self._console.progress(line, keep=call.evaluated)

    def _finish(self) -> list[dict[str, Any]]:
        scores = [{'diverged': True} for _ in self._members]
        if self._alive.any():
            steps = [self._best_step(each.metrics.records) for each in self._members]
            name = f'train_{self._measure}'
            for number, found in enumerate(self._trainee.best_scores('train', steps)):
                if self._alive[number]:
                    scores[number] = {name: found[name]}
        return [
            member.finish(self._measure, **found)
            for member, found in zip(self._members, scores, strict=True)
        ]

    def _best_step(self, records: list[report.Record]) -> int | None:
        if not report.evaluations(records):
            return None
        return report.best_of(records, self._measure)['step']

    def _living(self, found: Sequence[Any]) -> list[tuple[Member, Any]]:
        """The members that are alive, each with its own of the found."""
        pairs = zip(self._members, found, self._alive, strict=True)
        return [(member, own) for member, own, alive in pairs if alive]


def _numbers(values: dict[str, Any]) -> list[float]:
    return [value for name, value in values.items() if name != 'measured']
