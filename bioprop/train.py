"""The training loop: one run, from a resolved configuration to the summary in its workdir."""

import functools
import math
import time
from pathlib import Path
from typing import Any

import jax

from bioprop import step
from bioprop.checkpoint import Checkpoints
from bioprop.errors import UserError
from bioprop.parallel import place, spread
from bioprop.report import (
    banner,
    best_of,
    eval_record,
    lowest_of,
    measure_of,
    parts_of,
    progress_line,
    rounded,
    scores_of,
    summarise,
    train_record,
)
from bioprop.run import calls, make_run
from bioprop.workdir import open_workdir
from bioprop.writers import Console, Metrics, write_json


class Diverged(UserError):
    """Training met a number that is not finite."""


def train(config: dict[str, Any], workdir: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for config['epochs'], from the last checkpoint in the workdir on; returns the summary.

    Raises Diverged when a number is not finite, and UserError for bad input; what was
    saved is kept.
    """
    run = make_run(config, jax.local_device_count())
    init = jax.jit(functools.partial(step.init_state, run.learner))
    state = init(jax.random.key(config['seed']), run.hparams)
    state, parts, hparams = place((state, run.parts, run.hparams), run.devices)

    # -- The workdir, and where the last process left off
    open_workdir(workdir, config, overrides)
    checkpoints = Checkpoints(workdir / 'checkpoints')
    position = checkpoints.latest() or 0
    if position:
        state = checkpoints.restore(position, state)
    metrics = Metrics(workdir, position)
    if position != (metrics.records[-1]['step'] if metrics.records else 0):
        raise UserError(
            f'{workdir / "metrics.jsonl"} lacks records up to step {position}, where the last '
            'checkpoint stands. Restore it, or start again in another --workdir.'
        )
    console = Console()
    console.banner(banner(config, run, state, workdir, position))

    # -- The compiled programs
    @functools.cache
    def train_steps(turns, steps):
        function = functools.partial(step.train_steps, run.learner, turns, run.batch_size, steps)
        arguments = (state, parts['train'], hparams)
        return spread(function, run.devices, arguments, donate=(0,))

    @functools.cache
    def evaluate(part):
        function = functools.partial(step.evaluate, run.learner, config['eval_batch_size'])
        return spread(function, run.devices, (state.weights, parts[part]))

    def score(weights, part):
        images = parts[part]
        sums = evaluate(part)(weights, images)
        return scores_of(run.learner, part, sums, len(images.image))

    # -- The loop
    start, last = position, config['epochs'] * run.steps_per_epoch
    measure = measure_of(run.learner.loss)
    lowest = lowest_of(metrics.records, measure)
    for part in parts_of(run.learner):
        evaluate(part)
    spent, saved = 0.0, time.monotonic()
    try:
        for call in calls(config, run, position):
            program = train_steps(call.turns, call.steps)
            began = time.perf_counter()
            state, values = program(state, parts['train'], hparams)
            values = {name: float(value) for name, value in values.items()}
            trained = time.perf_counter()
            if not values.pop('finite') or not all(map(math.isfinite, values.values())):
                raise Diverged(
                    f'diverged in epoch {call.epoch}: a number is not finite. Run the same command '
                    'with a smaller --config.lr (or inverse_lr): it starts afresh in the same '
                    'workdir, and what this run left is kept there in a folder of its own.'
                )
            metrics.write(train_record(call, values, trained - began, run.batch_size))

            rank = None
            if call.evaluated:
                scores = {}
                for part in parts_of(run.learner):
                    scores |= score(state.weights, part)
                metrics.write(eval_record(call, scores, time.perf_counter() - trained))
                rank = scores[f'validation_{measure}']
            improved = rank is not None and rank < lowest
            lowest = rank if improved else lowest
            due = time.monotonic() - saved >= config['checkpoint_seconds']
            if improved or due or call.last:
                checkpoints.save(call.position, state, rank)
                saved = time.monotonic()
            spent += time.perf_counter() - began
            left = spent / (call.position - start) * (last - call.position)
            line = progress_line(config, metrics.records, measure, lowest, left)
            console.progress(line, keep=rank is not None)
        checkpoints.wait()
        best = best_of(metrics.records, measure)
        best_state = checkpoints.restore(best['step'], state)
        summary = summarise(config, metrics.records, measure, **score(best_state.weights, 'train'))
    except Diverged:
        write_json(
            workdir / 'summary.json', summarise(config, metrics.records, measure, diverged=True)
        )
        raise
    finally:
        metrics.close()
        checkpoints.close()
    write_json(workdir / 'summary.json', summary)
    console.banner((name, rounded(value)) for name, value in summary.items())
    return summary
