"""The training loop: one run, from a resolved configuration to the summary in its workdir."""

import contextlib
import functools
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax

from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.records.workdir import opened
from bioprop.records.writers import Console, Metrics, write_json
from bioprop.running.feeds import make_feed
from bioprop.running.preemption import Preempted, watched
from bioprop.running.report import (
    banner,
    best_of,
    diagnostics_records,
    eval_record,
    lowest_of,
    measure_of,
    parts_of,
    progress_line,
    rounded,
    scores_of,
    summarise,
    train_record,
    validation_record,
)
from bioprop.running.run import calls, make_run
from bioprop.training.learner import init_state
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
        _enter(stack, workdir, config, overrides, run, replicas)
        return _train(config, workdir, run, replicas)


def _enter(stack, workdir, config, overrides, run, replicas):
    """The first process owns the workdir until the stack closes; the others hear if it cannot."""
    refusal = None
    if jax.process_index() == 0:
        try:
            stack.enter_context(
                opened(workdir, config, overrides, run.data.identity, workdir / 'checkpoints')
            )
        except (UserError, OSError) as error:
            refusal = error
    if not replicas.agree(refusal is None):
        raise refusal or UserError('the first process was refused the workdir, and says why')


def _train(config, workdir, run, replicas):
    first = jax.process_index() == 0  # the process that writes
    init = functools.partial(init_state, run.learner)
    state = replicas.make(lambda seed: init(jax.random.key(seed), run.hparams), config['seed'])

    # -- Where the last process left off
    checkpoints = Checkpoints(workdir / 'checkpoints')
    position, state = checkpoints.restore_latest(replicas.shared(state))
    state = replicas.own(state)
    metrics = Metrics(workdir, position, writes=first)
    if position != (metrics.records[-1]['step'] if metrics.records else 0):
        raise UserError(
            f'{workdir / "metrics.jsonl"} lacks records up to step {position}, where the last '
            'checkpoint stands. Restore it, or start again in another --workdir.'
        )
    console = Console(sys.stdout if first else io.StringIO())
    console.banner(banner(config, run, state, workdir, position))
    feed = make_feed(run, replicas, config, state)
    feed.compile_sums(parts_of(run.learner))

    def score(weights, part):
        return scores_of(run.learner, part, *feed.sums(weights, part))

    def summary(**scores):
        content = summarise(config, metrics.records, measure, **scores)
        if first:
            write_json(workdir / 'summary.json', content)
        return content

    # -- The loop
    start, last = position, config['epochs'] * run.steps_per_epoch
    measure = measure_of(run.learner.loss)
    lowest = lowest_of(metrics.records, measure)
    spent, saved = 0.0, time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.callback(checkpoints.close)
        stack.callback(metrics.close)
        told_to_end = stack.enter_context(watched())
        for call in calls(config, run, position):
            program = feed.program(call)
            began = time.perf_counter()
            state, values = program(state)
            trained = time.perf_counter()
            measured = values.pop('measured')
            if not values.pop('finite') or not all(map(math.isfinite, values.values())):
                summary(diverged=True)
                raise Diverged(
                    f'diverged in epoch {call.epoch}: a number is not finite. Run the same command '
                    'with a smaller --config.lr (or feedback_lr): it starts afresh in the same '
                    'workdir, and what this run left is kept there in a folder of its own.'
                )
            for record in diagnostics_records(call, measured, config['diagnostics_every']):
                metrics.write(record)
            metrics.write(train_record(call, values, trained - began, run.batch_size))

            rank = None
            if call.evaluated:
                if run.learner.diagnosis:
                    numbers = feed.diagnose(state)
                    seconds = time.perf_counter() - trained
                    metrics.write(validation_record(call, numbers, seconds))
                    trained = time.perf_counter()
                scores = {}
                for part in parts_of(run.learner):
                    scores |= score(state.weights, part)
                metrics.write(eval_record(call, scores, time.perf_counter() - trained))
                rank = scores[f'validation_{measure}']
            improved = rank is not None and rank < lowest
            lowest = rank if improved else lowest
            due = replicas.agree(time.monotonic() - saved >= config['checkpoint_seconds'])
            preempted = told_to_end(call.position)
            if improved or due or preempted or call.last:
                checkpoints.save(call.position, replicas.shared(state), rank)
                saved = time.monotonic()
            spent += time.perf_counter() - began
            left = spent / (call.position - start) * (last - call.position)
            line = progress_line(config, metrics.records, measure, lowest, left)
            console.progress(line, keep=rank is not None)
            if preempted and not call.last:
                checkpoints.wait()
                raise Preempted(
                    f'told to end; saved at step {call.position:,} of {last:,}. '
                    'Run the same command to go on.'
                )
        checkpoints.wait()
        best = best_of(metrics.records, measure)
        best_state = checkpoints.restore(best['step'], replicas.shared(state))
        found = summary(**score(replicas.own(best_state).weights, 'train'))
    console.banner((name, rounded(value)) for name, value in found.items())
    return found
