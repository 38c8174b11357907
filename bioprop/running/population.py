"""Populations: many runs of one net and rule, trained as one program.

A member is a configuration with a seed. Members differ in what a program may trace, their seeds
and hyperparameters; all else is shared. Each gives what the run of its configuration gives alone,
and leaves the same config.json, metrics.jsonl and summary.json in a workdir of its own.

The members are stacked along the first axis of every array. They are divided among the devices,
and on each `width` of them train side by side (vmap), the rest after one another.
"""

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.records.weights_and_biases import tracked
from bioprop.records.workdir import MOVABLE, diverged, opened
from bioprop.records.writers import Console, Metrics
from bioprop.rules.base import Weights, inferring
from bioprop.running.loop import Loop, Member, Scores
from bioprop.running.report import parts_of, scores_of
from bioprop.running.run import Call, Run, make_hparams, make_run
from bioprop.settings import resolve
from bioprop.training.crowd import Crowd, memory
from bioprop.training.diagnosis import diagnose_part
from bioprop.training.evaluation import evaluate
from bioprop.training.images import Images
from bioprop.training.learner import Hparams, Learner, TrainState, init_state
from bioprop.training.passes import train_steps


def traced(config: dict[str, Any]) -> tuple[str, ...]:
    """The keys of a resolved configuration in which the members of a population may differ."""
    return ('seed', *resolve.hparams(config))


def program_of(config: dict[str, Any]) -> str:
    """What the members of a population have in common, as text: equal if one program serves."""
    keys = traced(config)
    shared = {key: value for key, value in config.items() if key not in (*keys, *MOVABLE)}
    shapes = {key: np.shape(config[key]) for key in keys}
    return json.dumps([shared, shapes], sort_keys=True)


def members_that_fit(config: dict[str, Any]) -> int:
    """How many members fit into the memory of all local devices; at least 1.

    A step holds the states before and after it; a half of the memory is left to the step's own.
    What is read from disk is trained alone.
    """
    if config['image_size']:
        return 1
    run = make_run(config)
    init = functools.partial(init_member, run.learner)
    member = jax.eval_shape(init, np.uint32(0), run.hparams)
    needed = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(member))
    return max(1, memory() // 2 // needed) * jax.local_device_count()


class Members(NamedTuple):
    """The state of a population, stacked."""

    state: TrainState
    best: Weights  # that inference reads, of each member at its lowest validation score


def train_population(
    configs: Sequence[dict[str, Any]], workdirs: Sequence[Path], folder: Path
) -> list[dict[str, Any]]:
    """Trains resolved configurations that share a program; returns their summaries.

    Resumes from the last checkpoint in `folder`. A member that diverges is frozen where it was,
    and its summary marks it. Raises UserError for bad input; what was saved is kept.
    """
    if len({program_of(config) for config in configs}) != 1:
        raise UserError('the members of a population may differ in seed and hyperparameters only')
    config = configs[0]
    if config['image_size']:
        raise UserError('a population has its data in memory: leave config.image_size at None')
    run = make_run(config)
    with contextlib.ExitStack() as stack:
        trackers = []
        for each, workdir in zip(configs, workdirs, strict=True):
            stack.enter_context(
                opened(workdir, each, [], run.data.identity, folder / 'checkpoints')
            )
            trackers.append(stack.enter_context(tracked(each, workdir)))
        return _train(configs, workdirs, trackers, folder, run)


class Together:
    """Members stacked on the devices: a `Trainee`."""

    keeps_best = True

    def __init__(self, run: Run, crowd: Crowd, config: dict[str, Any], members: Members, hparams):
        self._run, self._crowd, self._members, self._hparams = run, crowd, members, hparams
        self._parts, self._batch_size = crowd.everywhere(run.parts), config['eval_batch_size']
        self._live = crowd.divide(np.ones(crowd.members, bool))
        self._train_steps = functools.cache(self._compile_train_steps)
        self._evaluate = functools.cache(self._compile_evaluate)
        for part in parts_of(run.learner):  # ahead, so that no record's seconds hold it
            self._evaluate(part)
        _ = self._keep_best

    @property
    def state(self) -> Members:
        """As a checkpoint takes it."""
        return self._crowd.gather(self._members)

    def compile(self, call: Call) -> None:
        """Makes ready what `train` runs."""
        self._program = self._train_steps(call.turns, call.steps, call.lead)

    def train(self, call: Call) -> list[dict[str, Any]]:
        """The metrics of each member, with 'finite' and 'measured'."""
        arguments = (self._members, self._live, self._hparams, self._parts['train'])
        self._members, values, finite = self._program(*arguments)
        values = self._crowd.host(values)
        measured = self._unstacked(values.pop('measured'))
        finite = self._crowd.host(finite)
        return [
            each | {'finite': bool(finite[number]), 'measured': measured[number]}
            for number, each in enumerate(self._unstacked(values))
        ]

    def freeze(self, alive: np.ndarray) -> None:
        """Those that are not alive change no more."""
        self._live = self._crowd.divide(alive)

    def diagnose(self) -> list[Scores]:
        """On validation images."""
        found = self._diagnose(self._members.state, self._hparams, self._parts['validation'])
        return self._unstacked(self._crowd.host(found))

    def scores(self, part: str) -> list[Scores]:
        """Of a part of the data."""
        return self._score(inferring(self._run.learner.rule, self._members.state.weights), part)

    def keep_best(self, improved: np.ndarray) -> None:
        """The present weights of these members are their best."""
        self._members = self._keep_best(self._members, self._crowd.divide(improved))

    def best_scores(self, part: str, steps: Sequence[int | None]) -> list[Scores]:
        """With the best weights, which the state holds."""
        return self._score(self._members.best, part)

    def _score(self, weights, part):
        images = self._parts[part]
        sums = self._crowd.host(self._evaluate(part)(weights, self._hparams, images))
        count = len(images.image)
        return [scores_of(self._run.learner, part, each, count) for each in self._unstacked(sums)]

    def _unstacked(self, numbers: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        return [
            {name: value[member].tolist() for name, value in numbers.items()}
            for member in range(self._crowd.members)
        ]

    @functools.cached_property
    def _keep_best(self):
        function = functools.partial(_keep_best, self._run.learner)
        return self._crowd.each(function, (self._members, self._live))

    @functools.cached_property
    def _diagnose(self):
        function = functools.partial(diagnose_part, self._run.learner, self._run.batch_size)
        own = (self._members.state, self._hparams)
        return self._crowd.each(function, own, (self._parts['validation'],))

    def _compile_train_steps(self, turns, steps, lead):
        function = functools.partial(
            train_member, self._run.learner, turns, self._run.batch_size, steps, lead=lead
        )
        own = (self._members, self._live, self._hparams)
        return self._crowd.each(function, own, (self._parts['train'],), donate=True)

    def _compile_evaluate(self, part):
        function = functools.partial(evaluate, self._run.learner, self._batch_size)
        own = (self._members.best, self._hparams)
        return self._crowd.each(function, own, (self._parts[part],))


def _train(configs, workdirs, trackers, folder, run):
    crowd = Crowd(len(configs))
    hparams = crowd.divide(_stack([make_hparams(each, run.learner) for each in configs]))
    seeds = crowd.divide(np.array([each['seed'] for each in configs], np.uint32))
    init = functools.partial(init_member, run.learner)
    members = crowd.each(init, (seeds, hparams))(seeds, hparams)
    with contextlib.ExitStack() as stack:
        checkpoints = Checkpoints(folder / 'checkpoints')
        stack.callback(checkpoints.close)
        position, restored = checkpoints.restore_latest(crowd.gather(members))
        if position:
            members = crowd.divide(restored)
        told = []
        for config, workdir, tracker in zip(configs, workdirs, trackers, strict=True):
            told.append(Member(config, Metrics(workdir, position, tracker=tracker)))
            stack.callback(told[-1].metrics.close)
        alive = np.array([_alive(each.metrics, position) for each in told])
        trainee = Together(run, crowd, configs[0], members, hparams)
        trainee.freeze(alive)
        return Loop(run, told, trainee, checkpoints, Console(), alive).train(position)


def init_member(learner: Learner, seed: jax.Array, hparams: Hparams) -> Members:
    """One member before its first step, like a run of that seed."""
    state = init_state(learner, jax.random.key(seed), hparams)
    return Members(state, inferring(learner.rule, state.weights))


def train_member(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    batch_size: int,
    steps: int,
    member: Members,
    alive: jax.Array,
    hparams: Hparams,
    images: Images,
    lead: int = 0,
) -> tuple[Members, dict[str, jax.Array], jax.Array]:
    """A call for one member: (member, metrics, whether all numbers are finite).

    Its state stays as it was if it is not alive, or if a number is not finite.
    """
    state, metrics = train_steps(
        learner, turns, batch_size, steps, member.state, images, hparams, lead=lead
    )
    finite = metrics.pop('finite')
    measured = metrics.pop('measured', {})
    for value in metrics.values():
        finite &= jnp.isfinite(value)
    state = _select(alive & finite, state, member.state)
    return Members(state, member.best), metrics | {'measured': measured}, finite


def _keep_best(learner, member, improved):
    best = _select(improved, inferring(learner.rule, member.state.weights), member.best)
    return Members(member.state, best)


def _select(condition, new, old):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def _stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _alive(metrics: Metrics, position: int) -> bool:
    """Whether a member was alive at the checkpoint: a frozen one has no record of that step."""
    if (metrics.records[-1]['step'] if metrics.records else 0) == position:
        return True
    if diverged(metrics.workdir):
        return False
    raise UserError(
        f'{metrics.workdir / "metrics.jsonl"} lacks records up to step {position}, where the last '
        'checkpoint of its population stands. Restore it, or start the study again elsewhere.'
    )
