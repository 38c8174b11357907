"""What a run would cost: shapes, products, bytes and seconds, and nothing compiled or loaded."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from bioprop.costs import machines, trace
from bioprop.data.shapes import describe
from bioprop.errors import UserError
from bioprop.records.writers import clock
from bioprop.running.report import phase_of
from bioprop.running.run import make_hparams, make_learner, passes_of
from bioprop.training.learner import Learner

DEVICES = flags.DEFINE_integer(
    'devices', None, 'Devices that --dry_run predicts for. Default: those that there are.', 1
)
HARDWARE = flags.DEFINE_list(
    'hardware', list(machines.MACHINES), 'Hardware that --dry_run predicts times for.'
)
EXACT = 1.5  # factor within which temporaries are those that XLA plans (tests/test_costs.py)


def dry_run(config: dict[str, Any]) -> None:
    """Prints the page of a resolved configuration, as the flags of this module ask for it."""
    print('\n'.join(page(config, DEVICES.value or jax.device_count(), HARDWARE.value)))


def page(config: dict[str, Any], devices: int, hardware: Sequence[str]) -> list[str]:
    """The lines that say what training would cost on that many devices of each kind of hardware.

    The rule may be the user's own. Raises UserError for unknown hardware, and for a batch that the
    devices cannot share.
    """
    on = [machines.machine(name) for name in hardware]
    dataset = describe(
        config['dataset'],
        config['validation_fraction'],
        config['data_dir'],
        config['image_size'],
    )
    learner = make_learner(config, dataset)
    batch = share(config, devices)
    steps = len(dataset.train.image) // config['batch_size']
    epoch = [phase_of(turns) for turns in passes_of(config, learner)]
    phases = {
        backend: trace_phases(config, learner, batch, devices, backend)
        for backend in ('accelerator', *{machine.backend for machine in on} - {'accelerator'})
    }
    each = phases['accelerator']
    resident = _resident(config, devices, each, 0 if config['image_size'] else _set_bytes(dataset))
    loads = {phase: load(step, bool(config['image_size'])) for phase, step in each.items()}
    return [
        *_aligned(_what(config, devices, batch, dataset, steps * len(epoch))),
        '',
        *_aligned(_layers(learner.network), right=range(3, 5)),
        '',
        *_aligned(_products(each, loads), right=range(1, 5)),
        '',
        *_aligned(_bytes(resident, each), right=[1]),
        '',
        *_aligned(
            _times(config, devices, on, loads, phases, resident, steps * epoch), right=range(2, 8)
        ),
        '',
        *_notes(on, each),
    ]


def share(config: dict[str, Any], devices: int) -> int:
    """Examples of each device in a step. Raises UserError if the devices cannot share the batch."""
    accumulate = config['accumulate']
    batch, shares = config['batch_size'], devices * accumulate
    if batch % shares:
        parts = f'{devices} devices' + (f' x {accumulate} microbatches' if accumulate > 1 else '')
        raise UserError(f'config.batch_size = {batch} must be a multiple of {parts}')
    return batch // devices


def trace_phases(
    config: dict[str, Any], learner: Learner, batch: int, devices: int, backend: str
) -> dict[str, trace.Step]:
    """The step of each phase of the schedule, by the phase's name."""
    hparams = jax.eval_shape(lambda: make_hparams(config, learner))
    return {
        phase_of(turns): trace.trace_step(learner, turns, batch, hparams, devices, backend)
        for turns in passes_of(config, learner)
    }


def load(step: trace.Step, streamed: bool) -> machines.Load:
    """What a step asks of each device; streamed images are decoded by the host."""
    moved, patches = trace.traffic(step)
    updates, decoded = trace.tree_bytes(step.trained), step.batch if streamed else 0
    return machines.Load(step.flops, moved, patches, updates, decoded)


def _what(config, devices, batch, dataset, steps):
    sizes = ', '.join(f'{len(part.image):,} {name}' for name, part in dataset.parts.items())
    shares = f'{batch} on each of {_count(devices, "device")}'
    if config['accumulate'] > 1:
        shares += f' in {config["accumulate"]} microbatches'
    return [
        ('data', f'{config["dataset"]}: {sizes}; {_shape(dataset.train.in_shape)}'),
        ('rule', f'{config["rule"]}, {config["schedule"]}; {config["optimizer"]}'),
        ('batch', f'{config["batch_size"]}: {shares}'),
        ('types', f'{config["precision"]} products, float32 weights'),
        ('steps', f'{steps:,} an epoch'),
    ]


def _layers(network):
    """A row for each layer: shapes, parameters and multiply-adds of one example."""
    rows, totals = [('layer', 'in', 'out', 'parameters', 'multiply-adds')], [0, 0]
    for place, layer in enumerate(network.layers, start=1):
        numbers = [
            math.prod(layer.kernel_shape) + math.prod(layer.bias_shape),
            trace.multiply_adds(layer),
        ]
        totals = [total + new for total, new in zip(totals, numbers, strict=True)]
        ends = _shape(layer.in_shape), _shape(layer.out_shape)
        rows.append((place, *ends, *(f'{n:,}' for n in numbers)))
    return [*rows, ('net', '', '', *(f'{total:,}' for total in totals))]


def _products(phases, loads):
    """A row for each phase: what its step does on each device."""
    rows = [('step of', 'products', 'GFLOP', 'bytes moved', 'patches')]
    for phase, step in phases.items():
        asked = loads[phase]
        moved = _size(asked.bytes), _size(asked.patches) if asked.patches else '-'
        rows.append((phase, len(step.products), f'{asked.flops / 1e9:.4g}', *moved))
    return rows


def _resident(config, devices, phases, set_bytes):
    """Bytes of each device that do not depend on the phase."""
    step, *_ = phases.values()
    state = step.state
    weights = {side: trace.tree_bytes(state.weights[side]) for side in (*trace.SIDES, 'fixed')}
    moments = {side: trace.tree_bytes(tree) for side, tree in state.optimizer.items()}
    # The state is given away to the next one, except by pmap.
    anew = devices > 1 and config['parallel'] == 'pmap'
    return {
        **{f'{side} weights': count for side, count in weights.items()},
        **{f'{side} optimiser': moments[side] for side in trace.SIDES if side in moments},
        'state made anew': anew * sum((*weights.values(), *moments.values())),
        'data set': set_bytes,
        'batch': trace.tree_bytes(trace.batch_shapes(step.learner, step.batch)),
    }


def _set_bytes(dataset):
    return sum(part.image.size + 4 * len(part.label) for part in dataset.parts.values())


def _bytes(resident, phases):
    """A row for each use of memory, with those of the largest phase."""
    found = {**resident, **_temporaries(phases)}
    return [
        ('bytes on each device', ''),
        *((name, _size(value)) for name, value in found.items() if value),
        ('in all', _size(sum(found.values()))),
    ]


def _temporaries(phases):
    return max(map(trace.temporaries, phases.values()), key=lambda found: sum(found.values()))


def _times(config, devices, on, loads, phases, resident, epoch):
    """A row for each machine and phase: what it needs, and whether it fits."""
    names = ('arithmetic', 'memory', 'input', 'collective', 'step')
    rows = [('hardware', 'phase', *names, 'epoch', 'bound by', 'bytes')]
    for machine in on:
        needed = sum(resident.values())
        needed += sum(_temporaries(phases[machine.backend]).values())
        fits = 'fits: ' if needed <= machine.memory else 'does not fit: needs '
        fits += f'{_size(needed)} of {_size(machine.memory)}'
        each = {
            phase: machines.seconds(load, machine, devices, config['precision'])
            for phase, load in loads.items()
        }
        epoch_seconds = sum(each[phase]['step'] for phase in epoch)
        for phase, needs in each.items():
            times = [_seconds(needs[name]) for name in names]
            rows.append(
                (machine.title, phase, *times, _seconds(epoch_seconds), machines.bound(needs), fits)
            )
    return rows


def _notes(on, phases):
    guessed = [machine.title for machine in on if machine.attainable == machines.GUESSED]
    arithmetic, bandwidth = machines.GUESSED
    shares = (
        f'{arithmetic:.0%} of the peak and {bandwidth:.0%} of the bandwidth of '
        f'{", ".join(guessed)} are taken as attainable: a guess.'
    )
    loops = 'A loop of unknown length does products: one round of it is counted.'
    return [
        'Products and bytes are counted in the traced step; multiply-adds are those of an example.',
        f'Bytes from activations to working are a model: within a factor of {EXACT} of XLA for the',
        'six rules of bioprop in float32 on one CPU, an estimate for other rules and settings.',
        *([loops] if any(step.unbounded for step in phases.values()) else []),
        *([shares] if guessed else []),
        'Times are of training alone. Launches are not counted; they decide below 0.1 ms a step.',
    ]


def _aligned(rows, right=()):
    """Lines of a table; the columns in `right` are set to the right."""
    widths = [max(len(str(row[c])) for row in rows) for c in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            f'{cell!s:{">" if c in right else "<"}{width}}'
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append('  '.join(cells).rstrip())
    return lines


def _count(number, what):
    return f'{number} {what}' + 's' * (number != 1)


def _shape(shape):
    return 'x'.join(map(str, shape))


def _size(count):
    return f'{count / 1e9:.2f} GB' if count >= 1e9 else f'{count / 1e6:.2f} MB'


def _seconds(time):
    return clock(time) if time >= 1e-6 else '-'
