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
from bioprop.networks import parameter_count
from bioprop.parallel import place, spread
from bioprop.run import Run, make_run
from bioprop.workdir import hardware, open_workdir
from bioprop.writers import Console, Metrics, Record, clock, write_json


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
    console.banner(_banner(config, run, state, workdir, position))

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
    measure = _measure(run)
    lowest = min((r[f'validation_{measure}'] for r in _evaluations(metrics)), default=math.inf)
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
                {'kind': 'train', **here, 'phase': _phase(turns), **values}
                | {'seconds': trained - began, 'examples_per_second': speed}
            )

            rank = None
            if position == last or position % (config['eval_every'] * steps_per_epoch) == 0:
                scores = score(state.weights, 'validation') | score(state.weights, 'test')
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
            line = _progress(config, metrics.records, measure, lowest, left)
            console.progress(line, keep=rank is not None)
        checkpoints.wait()
        best = _best(metrics, measure)
        best_state = checkpoints.restore(best['step'], state)
        summary = _summary(config, metrics, measure, **score(best_state.weights, 'train'))
    except Diverged:
        write_json(workdir / 'summary.json', _summary(config, metrics, measure, diverged=True))
        raise
    finally:
        metrics.close()
        checkpoints.close()
    write_json(workdir / 'summary.json', summary)
    console.banner((name, _rounded(value)) for name, value in summary.items())
    return summary


def _measure(run: Run) -> str:
    """What a run is judged by: the error in percent, or the loss where there is no error."""
    return 'error' if run.learner.loss.mistake else 'loss'


def _phase(turns: tuple[tuple[str, ...], ...]) -> str:
    """The side that a pass trains, or 'both'."""
    sides = {side for sides in turns for side in sides}
    return sides.pop() if len(sides) == 1 else 'both'


def _evaluations(metrics: Metrics) -> list[Record]:
    return [record for record in metrics.records if record['kind'] == 'eval']


def _best(metrics: Metrics, measure: str) -> Record:
    """The evaluation of the lowest validation score, the first of equals."""
    return min(_evaluations(metrics), key=lambda record: record[f'validation_{measure}'])


def _summary(config, metrics, measure, *, train_error=None, train_loss=None, diverged=False):
    """The run in one flat dictionary, a function of its records alone but for the train score.

    Errors are percentages. Train and validation scores are those at the best epoch, the one of the
    lowest validation score; best_test_* is the lowest over the epochs (the paper's protocol).
    """
    evaluations = _evaluations(metrics)
    training = [record for record in metrics.records if record['kind'] == 'train']
    images = sum(record['seconds'] * record['examples_per_second'] for record in training)
    best = _best(metrics, measure) if evaluations else {}
    test = f'test_{measure}'
    return {
        'rule': config['rule'],
        'net': config['net'],
        'dataset': config['dataset'],
        'schedule': config['schedule'],
        'seed': config['seed'],
        'epochs': training[-1]['epoch'] if training else 0,
        f'train_{measure}': {'error': train_error, 'loss': train_loss}[measure],
        f'validation_{measure}': best.get(f'validation_{measure}'),
        f'{test}_at_best_validation': best.get(test),
        f'best_{test}': min((record[test] for record in evaluations), default=None),
        'best_epoch': best.get('epoch'),
        'examples_per_second': images / sum(r['seconds'] for r in training) if training else None,
        'seconds': sum(record['seconds'] for record in metrics.records),
        'diverged': diverged,
    }


def _rounded(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def _banner(config, run, state, workdir, position) -> list[tuple[str, Any]]:
    network = run.learner.network
    shapes = ' -> '.join(
        'x'.join(map(str, shape))
        for shape in (network.in_shape, *(layer.out_shape for layer in network.layers))
    )
    counts = ', '.join(
        f'{parameter_count(state.weights[side]):,} {side}'
        for side in ('forward', 'feedback', 'fixed')
    )
    sizes = ', '.join(f'{len(part.image):,} {name}' for name, part in run.parts.items())
    steps = run.steps_per_pass * len(run.passes)
    hparams = ', '.join(f'{name} {_rounded(config[name])}' for name in run.hparams)
    return [
        ('devices', hardware()),
        ('data', f'{config["dataset"]}: {sizes}'),
        ('net', f'{config["net"]}: {shapes}'),
        ('parameters', counts),
        ('rule', f'{config["rule"]}, {config["schedule"]}'),
        ('settings', f'batch {config["batch_size"]}, seed {config["seed"]}, {hparams}'),
        ('steps', f'{steps:,} an epoch, {steps * config["epochs"]:,} in {config["epochs"]} epochs'),
        ('workdir', f'{workdir} ({f"resumed at step {position:,}" if position else "new"})'),
    ]


def _progress(config, records, measure, lowest, left) -> str:
    training = [record for record in records[-2:] if record['kind'] == 'train'][-1]
    parts = [f'epoch {training["epoch"]}/{config["epochs"]}', training['phase']]
    parts += [
        f'{name} {training[name]:.4f}' for name in ('loss', 'feedback_loss') if name in training
    ]
    unit = ' %' if measure == 'error' else ''
    digits = 2 if measure == 'error' else 5
    if measure in training and measure == 'error':
        parts.append(f'error {training["error"]:.2f} %')
    if records[-1]['kind'] == 'eval':
        parts.append(f'validation {records[-1][f"validation_{measure}"]:.{digits}f}{unit}')
    if math.isfinite(lowest):
        parts.append(f'best {lowest:.{digits}f}{unit}')
    return '  '.join(
        [*parts, f'{training["examples_per_second"]:,.0f} images/s', f'ETA {clock(left)}']
    )
