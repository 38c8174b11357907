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
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.records.workdir import MOVABLE, diverged, opened
from bioprop.records.writers import Console, Metrics, clock, write_json
from bioprop.rules.base import Weights, inferring
from bioprop.running.report import (
    diagnostics_records,
    eval_record,
    lowest_of,
    measure_of,
    parts_of,
    scores_of,
    summarise,
    train_record,
    validation_record,
)
from bioprop.running.run import Run, calls, make_hparams, make_run
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
        for each, workdir in zip(configs, workdirs, strict=True):
            stack.enter_context(
                opened(workdir, each, [], run.data.identity, folder / 'checkpoints')
            )
        return _train(configs, workdirs, folder, run)


def _train(configs, workdirs, folder, run):
    config = configs[0]
    crowd = Crowd(len(configs))
    parts = crowd.everywhere(run.parts)
    hparams = crowd.divide(_stack([make_hparams(each, run.learner) for each in configs]))
    seeds = crowd.divide(np.array([each['seed'] for each in configs], np.uint32))
    members = crowd.each(functools.partial(init_member, run.learner), (seeds, hparams))(
        seeds, hparams
    )

    # -- Where the last process left off
    checkpoints = Checkpoints(folder / 'checkpoints')
    position, restored = checkpoints.restore_latest(crowd.gather(members))
    if position:
        members = crowd.divide(restored)
    metrics = [Metrics(workdir, position) for workdir in workdirs]
    alive = np.array(
        [_alive(each, workdir, position) for each, workdir in zip(metrics, workdirs, strict=True)]
    )

    # -- The compiled programs
    @functools.cache
    def train_steps(turns, steps, lead):
        function = functools.partial(
            train_member, run.learner, turns, run.batch_size, steps, lead=lead
        )
        return crowd.each(function, (members, live, hparams), (parts['train'],), donate=True)

    @functools.cache
    def evaluation_of(part):
        function = functools.partial(evaluate, run.learner, config['eval_batch_size'])
        return crowd.each(function, (members.best, hparams), (parts[part],))

    @functools.cache
    def diagnose():
        function = functools.partial(diagnose_part, run.learner, run.batch_size)
        return crowd.each(function, (members.state, hparams), (parts['validation'],))

    def scores(weights, *names):
        found = [{} for _ in configs]
        for part in names:
            sums = crowd.host(evaluation_of(part)(weights, hparams, parts[part]))
            for mine, each in zip(found, _unstack(sums, len(configs)), strict=True):
                mine |= scores_of(run.learner, part, each, len(parts[part].image))
        return found

    def finish(number, **train_scores):
        records = metrics[number].records
        frozen = not alive[number]
        summary = summarise(configs[number], records, measure, diverged=frozen, **train_scores)
        write_json(workdirs[number] / 'summary.json', summary)
        return summary

    # -- The loop
    measure = measure_of(run.learner.loss)
    lowest = np.array([lowest_of(each.records, measure) for each in metrics])
    console, start, began_all, saved = Console(), position, time.monotonic(), time.monotonic()
    live = crowd.divide(alive)
    keep_best = crowd.each(functools.partial(_keep_best, run.learner), (members, live))
    for part in parts_of(run.learner):
        evaluation_of(part)
    try:
        for call in calls(config, run, position):
            if not alive.any():
                break
            program = train_steps(call.turns, call.steps, call.lead)
            began = time.perf_counter()
            members, values, finite = program(members, live, hparams, parts['train'])
            values, finite = crowd.host(values), crowd.host(finite)
            trained = time.perf_counter()
            died = np.flatnonzero(alive & ~finite)
            alive = alive & finite  # not in place: on a CPU `live` may be a view of it
            live = crowd.divide(alive)
            for number in died:
                finish(number)
            living = np.flatnonzero(alive)
            share = (trained - began) / max(len(living), 1)
            measured = _unstack(values.pop('measured'), len(configs))
            values = _unstack(values, len(configs))
            for number in living:
                for record in diagnostics_records(
                    call, measured[number], config['diagnostics_every']
                ):
                    metrics[number].write(record)
                record = train_record(call, values[number], share, run.batch_size)
                metrics[number].write(record)

            if call.evaluated:
                if run.learner.diagnosis:
                    found = crowd.host(diagnose()(members.state, hparams, parts['validation']))
                    found = _unstack(found, len(configs))
                    share = (time.perf_counter() - trained) / max(len(living), 1)
                    for number in living:
                        metrics[number].write(validation_record(call, found[number], share))
                    trained = time.perf_counter()
                weights = inferring(run.learner.rule, members.state.weights)
                each_scores = scores(weights, *parts_of(run.learner))
                share = (time.perf_counter() - trained) / max(len(living), 1)
                for number in living:
                    metrics[number].write(eval_record(call, each_scores[number], share))
                ranks = np.array([mine[f'validation_{measure}'] for mine in each_scores])
                improved = alive & (ranks < lowest)
                lowest = np.where(improved, ranks, lowest)
                members = keep_best(members, crowd.divide(improved))
            if call.last or time.monotonic() - saved >= config['checkpoint_seconds']:
                checkpoints.save(call.position, crowd.gather(members))
                saved = time.monotonic()
            left = (time.monotonic() - began_all) / (call.position - start)
            left *= config['epochs'] * run.steps_per_epoch - call.position
            console.progress(_line(config, run, call, alive, lowest, left), keep=call.evaluated)
        checkpoints.wait()
        train_scores = scores(members.best, 'train')
        return [
            finish(number, **({f'train_{measure}': score[f'train_{measure}']} if up else {}))
            for number, (up, score) in enumerate(zip(alive, train_scores, strict=True))
        ]
    finally:
        for each in metrics:
            each.close()
        checkpoints.close()


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


def _unstack(numbers: dict[str, np.ndarray], members: int) -> list[dict[str, Any]]:
    return [
        {name: value[member].tolist() for name, value in numbers.items()}
        for member in range(members)
    ]


def _alive(metrics: Metrics, workdir: Path, position: int) -> bool:
    """Whether a member was alive at the checkpoint: a frozen one has no record of that step."""
    if (metrics.records[-1]['step'] if metrics.records else 0) == position:
        return True
    if diverged(workdir):
        return False
    raise UserError(
        f'{workdir / "metrics.jsonl"} lacks records up to step {position}, where the last '
        'checkpoint of its population stands. Restore it, or start the study again elsewhere.'
    )


def _line(config: dict[str, Any], run: Run, call, alive, lowest, left: float) -> str:
    """Where training stands."""
    parts = [
        f'{config["rule"]} {config["schedule"]}', f'epoch {call.epoch}/{config["epochs"]}',
        f'{alive.sum()} of {len(alive)} members alive',
    ]  # fmt: skip
    if math.isfinite(lowest.min()):
        parts.append(f'best validation {lowest.min():.4g}')
    return '  '.join([*parts, f'ETA {clock(left)}'])
