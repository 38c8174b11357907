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
    evaluations,
    measure_of,
    phase_of,
    progress_line,
    rounded,
    summarise,
)
from bioprop.run import make_run
from bioprop.workdir import open_workdir
from bioprop.writers import Console, Metrics, write_json


class Diverged(UserError):
    """Training met a number that is not finite."""


def train(config: dict[str, Any], workdir: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for config['epochs'], from the last checkpoint in the workdir on; returns the summary.

    Raises Diverged when a number is not finite, and UserError for bad input; what was
    saved is kept.
    """
    run = make_run(config)
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
    # A reconstruction is summed over pixels, and reported as the mean over them.
    scale = run.learner.network.out_shape[0] if run.learner.loss.reconstructs else 1

    @functools.cache
    def train_steps(turns, steps):
        function = functools.partial(
            step.train_steps, run.learner, turns, config['batch_size'], steps
        )
        arguments = (state, parts['train'], hparams)
        return spread(function, run.devices, arguments, donate=(0,))

    @functools.cache
    def evaluate(part):
        function = functools.partial(step.evaluate, run.learner, config['eval_batch_size'])
        return spread(function, run.devices, (state.weights, parts[part]))

    def score(weights, part):
        images = parts[part]
        sums, count = evaluate(part)(weights, images), len(images.image)
        scores = {f'{part}_loss': float(sums['loss']) / count / scale}
        if 'mistake' in sums:
            scores[f'{part}_error'] = 100 * float(sums['mistake']) / count
        return scores

    # -- The loop: a call is one scan, within one pass over the training set
    steps_per_epoch = run.steps_per_pass * len(run.passes)
    start, last = position, config['epochs'] * steps_per_epoch
    measure = measure_of(run.learner.loss)
    # Where images are augmented, the score kept while training is not that of the training set.
    evaluated = ('train', 'validation', 'test') if run.learner.augment else ('validation', 'test')
    lowest = min(
        (r[f'validation_{measure}'] for r in evaluations(metrics.records)), default=math.inf
    )
    for part in evaluated:
        evaluate(part)
    spent, saved = 0.0, time.monotonic()
    try:
        while position < last:
            number, done = divmod(position, run.steps_per_pass)
            turns = run.passes[number % len(run.passes)]
            steps = min(config['steps_per_call'] or run.steps_per_pass, run.steps_per_pass - done)
            program = train_steps(turns, steps)

            began = time.perf_counter()
            state, values = program(state, parts['train'], hparams)
            values = {name: float(value) for name, value in values.items()}
            trained = time.perf_counter()
            position += steps
            epoch = -(-position // steps_per_epoch)
            if not values.pop('finite') or not all(map(math.isfinite, values.values())):
                raise Diverged(
                    f'diverged in epoch {epoch}: a number is not finite. Run the same command with '
                    'a smaller --config.lr (or inverse_lr): it starts afresh in the same workdir, '
                    'and what this run left is kept there in a folder of its own.'
                )
            here = {'step': position, 'epoch': epoch}
            speed = steps * config['batch_size'] / (trained - began)
            metrics.write(
                {'kind': 'train', **here, 'phase': phase_of(turns), **values}
                | {'seconds': trained - began, 'examples_per_second': speed}
            )

            rank = None
            if position == last or position % (config['eval_every'] * steps_per_epoch) == 0:
                scores = {}
                for part in evaluated:
                    scores |= score(state.weights, part)
                seconds = time.perf_counter() - trained
                metrics.write({'kind': 'eval', **here, **scores, 'seconds': seconds})
                rank = scores[f'validation_{measure}']
            improved = rank is not None and rank < lowest
            lowest = rank if improved else lowest
            due = time.monotonic() - saved >= config['checkpoint_seconds']
            if improved or due or position == last:
                checkpoints.save(position, state, rank)
                saved = time.monotonic()
            spent += time.perf_counter() - began
            left = spent / (position - start) * (last - position)
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
