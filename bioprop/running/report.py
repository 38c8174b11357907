"""What a run says of itself, on the console and in its summary: functions of its records."""

import math
from typing import Any

from bioprop.losses import Loss
from bioprop.networks import parameter_count
from bioprop.records.provenance import hardware
from bioprop.records.writers import Record, clock
from bioprop.rules import entry
from bioprop.running.run import Call
from bioprop.settings.tied import too_short
from bioprop.training.learner import Learner
from bioprop.training.parallel import available


def measure_of(loss: Loss) -> str:
    """What a run is judged by: the error in percent, or the loss where there is no error."""
    return 'error' if loss.mistake else 'loss'


def phase_of(turns: tuple[tuple[str, ...], ...]) -> str:
    """The side that a pass trains, or 'both'."""
    sides = {side for sides in turns for side in sides}
    return sides.pop() if len(sides) == 1 else 'both'


def parts_of(learner: Learner) -> tuple[str, ...]:
    """The sets that are scored while training.

    Where images are augmented, the score kept while training is not that of the training set.
    """
    return ('train', 'validation', 'test') if learner.augment else ('validation', 'test')


def scores_of(learner: Learner, part: str, sums: dict[str, float], count: int) -> dict[str, float]:
    """A part's mean loss and error from the sums over its `count` examples.

    A reconstruction is summed over pixels, and reported as the mean over them.
    """
    pixels = learner.network.out_shape[0] if learner.loss.reconstructs else 1
    scores = {f'{part}_loss': float(sums['loss']) / count / pixels}
    if 'mistake' in sums:
        scores[f'{part}_error'] = 100 * float(sums['mistake']) / count
    return scores


def train_record(call: Call, values: dict[str, float], seconds: float, batch_size: int) -> Record:
    """What a call of training reports."""
    return {
        'kind': 'train', 'step': call.position, 'epoch': call.epoch,
        'phase': phase_of(call.turns), **values,
        'seconds': seconds, 'examples_per_second': call.steps * batch_size / seconds,
    }  # fmt: skip


def diagnostics_records(call: Call, measured: dict[str, list[float]], every: int) -> list[Record]:
    """What was measured in a call of training, each time at the step that it came before."""
    times = len(next(iter(measured.values()), ()))
    first = call.position - call.steps + call.lead + 1
    return [
        {
            'kind': 'diagnostics', 'part': 'train', 'step': first + number * every,
            'epoch': call.epoch, **{name: values[number] for name, values in measured.items()},
        }
        for number in range(times)
    ]  # fmt: skip


def validation_record(call: Call, numbers: dict[str, float], seconds: float) -> Record:
    """What was measured on validation images after a call."""
    return {
        'kind': 'diagnostics', 'part': 'validation', 'step': call.position, 'epoch': call.epoch,
        **numbers, 'seconds': seconds,
    }  # fmt: skip


def eval_record(call: Call, scores: dict[str, float], seconds: float) -> Record:
    """What the scores after a call report."""
    return {
        'kind': 'eval', 'step': call.position, 'epoch': call.epoch, **scores, 'seconds': seconds,
    }  # fmt: skip


def lowest_of(records: list[Record], measure: str) -> float:
    """The lowest validation score so far; infinity before the first."""
    return min((r[f'validation_{measure}'] for r in evaluations(records)), default=math.inf)


def evaluations(records: list[Record]) -> list[Record]:
    """The records of kind eval, one for each evaluated epoch."""
    return [record for record in records if record['kind'] == 'eval']


def best_of(records: list[Record], measure: str) -> Record:
    """The evaluation of the lowest validation score, the first of equals."""
    return min(evaluations(records), key=lambda record: record[f'validation_{measure}'])


def summarise(config, records, measure, *, train_error=None, train_loss=None, diverged=False):
    """The run in one flat dictionary, a function of its records alone but for the train score.

    Errors are percentages. Train and validation scores are those at the best epoch, the one of the
    lowest validation score; best_test_* is the lowest over the epochs (the paper's protocol).
    """
    evaluated = evaluations(records)
    training = [record for record in records if record['kind'] == 'train']
    images = sum(record['seconds'] * record['examples_per_second'] for record in training)
    best = best_of(records, measure) if evaluated else {}
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
        f'best_{test}': min((record[test] for record in evaluated), default=None),
        'best_epoch': best.get('epoch'),
        'examples_per_second': images / sum(r['seconds'] for r in training) if training else None,
        'seconds': sum(record.get('seconds', 0.0) for record in records),
        'diverged': diverged,
    }


def rounded(value: Any) -> str:
    """Four digits of a float."""
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def banner(config, run, state, workdir, position) -> list[tuple[str, Any]]:
    """What is about to be trained, as rows of a name and a value."""
    network = run.learner.network
    shapes = ' -> '.join(
        'x'.join(map(str, shape))
        for shape in (network.in_shape, *(layer.out_shape for layer in network.layers))
    )
    counts = ', '.join(
        f'{parameter_count(state.weights[side]):,} {side}'
        for side in ('forward', 'feedback', 'fixed')
    )
    sizes = ', '.join(f'{part.examples:,} {name}' for name, part in run.data.parts.items())
    augmented = ', training images cropped and flipped' if config['augment'] else ''
    steps = run.steps_per_epoch
    hparams = ', '.join(f'{name} {rounded(config[name])}' for name in run.hparams)
    diagnosis = run.learner.diagnosis
    measured = (
        [('diagnostics', f'{", ".join(diagnosis.names)}, every {diagnosis.every} steps')]
        if diagnosis
        else []
    )
    short = entry(config['rule']).tied and too_short(config, run.last_step)
    return [
        ('devices', hardware() + (f', {config["parallel"]}' if len(available()) > 1 else '')),
        ('data', f'{config["dataset"]}: {sizes}{augmented}'),
        ('net', f'{config["net"]}: {shapes}'),
        ('parameters', counts),
        ('rule', f'{config["rule"]}, {config["schedule"]}'),
        ('settings', f'batch {config["batch_size"]}, seed {config["seed"]}, {hparams}'),
        ('precision', config['precision']),
        *measured,
        ('steps', f'{steps:,} an epoch, {run.last_step:,} in {config["epochs"]} epochs'),
        *([('mind', short)] if short else []),
        ('workdir', f'{workdir} ({f"resumed at step {position:,}" if position else "new"})'),
    ]


def population_line(config, epoch, alive, lowest, left) -> str:
    """Where a population stands; alive and lowest have an entry for each member."""
    parts = [
        f'{config["rule"]} {config["schedule"]}', f'epoch {epoch}/{config["epochs"]}',
        f'{alive.sum()} of {len(alive)} members alive',
    ]  # fmt: skip
    if math.isfinite(lowest.min()):
        parts.append(f'best validation {lowest.min():.4g}')
    return '  '.join([*parts, f'ETA {clock(left)}'])


def progress_line(config, records, measure, lowest, left) -> str:
    """Where training stands after the last records; `left` is in seconds."""
    training = next(record for record in reversed(records) if record['kind'] == 'train')
    parts = [f'epoch {training["epoch"]}/{config["epochs"]}', training['phase']]
    parts += [
        f'{name} {training[name]:.4f}' for name in ('loss', 'feedback_loss') if name in training
    ]
    unit = ' %' if measure == 'error' else ''
    digits = 2 if measure == 'error' else 5
    if 'error' in training:
        parts.append(f'error {training["error"]:.2f} %')
    if records[-1]['kind'] == 'eval':
        parts.append(f'validation {records[-1][f"validation_{measure}"]:.{digits}f}{unit}')
    if math.isfinite(lowest):
        parts.append(f'best {lowest:.{digits}f}{unit}')
    return '  '.join(
        [*parts, f'{training["examples_per_second"]:,.0f} images/s', f'ETA {clock(left)}']
    )
