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
from bioprop.running.run import make_hparams, make_learner
from bioprop.training.learner import Learner, init_state
from bioprop.training.schedules import SCHEDULES

DEVICES = flags.DEFINE_integer(
    'devices', None, 'Devices that --dry_run predicts for. Default: those that there are.', 1
)
HARDWARE = flags.DEFINE_list(
    'hardware', list(machines.MACHINES), 'Hardware that --dry_run predicts times for.'
)
ITEM_BYTES = {'float32': 4, 'bfloat16': 2}
EXACT = 1.5  # factor within which the temporaries are those that XLA plans (tests/test_costs.py)


def dry_run(config: dict[str, Any]) -> None:
    """Prints the page of a resolved configuration, as the flags of this module ask for it."""
    print('\n'.join(page(config, DEVICES.value or jax.device_count(), HARDWARE.value)))


def page(config: dict[str, Any], devices: int, hardware: Sequence[str]) -> list[str]:
    """The lines that say what training would cost on that many devices of each kind of hardware.

    Raises UserError for unknown hardware, for a rule that is not bioprop's, and for a batch that
    the devices cannot share.
    """
    on = [machines.machine(name) for name in hardware]
    dataset = describe(
        config['dataset'],
        config['validation_fraction'],
        config['data_dir'],
        config['image_size'],
    )
    learner = make_learner(config, dataset)
    state = jax.eval_shape(
        lambda: init_state(learner, jax.random.key(0), make_hparams(config, learner))
    )
    plan = make_plan(config, devices, learner)
    steps = len(dataset.train.image) // config['batch_size']
    passes = [
        [tuple(side for side in sides if side in learner.optimizers) for sides in turns]
        for turns in SCHEDULES[config['schedule']]
    ]
    phases = {phase_of(turns): {side for sides in turns for side in sides} for turns in passes}
    resident = _resident(
        config, devices, state, plan, 0 if config['image_size'] else _set_bytes(dataset)
    )
    loads = {
        phase: _load(plan, sides, state, bool(config['image_size']))
        for phase, sides in phases.items()
    }
    return [
        *_aligned(_what(config, devices, plan, dataset, steps)),
        '',
        *_aligned(_layers(plan, phases), right=range(3, 9)),
        '',
        *_aligned(_bytes(resident, plan, phases), right=[1]),
        '',
        *_aligned(
            _times(config, devices, on, loads, plan, phases, resident, steps), right=range(2, 8)
        ),
        '',
        *_notes(on),
    ]


def make_plan(config: dict[str, Any], devices: int, learner: Learner) -> trace.Plan:
    """What each of that many devices does in a step. Raises UserError if they cannot share it."""
    accumulate = config['accumulate']
    batch, shares = config['batch_size'], devices * accumulate
    if batch % shares:
        parts = f'{devices} devices' + (f' x {accumulate} microbatches' if accumulate > 1 else '')
        raise UserError(f'config.batch_size = {batch} must be a multiple of {parts}')
    return trace.Plan(
        config['rule'],
        learner.network,
        batch // devices,
        config.get('auxiliary_units') or 0,
        ITEM_BYTES[config['precision']],
        accumulate,
        together=devices > 1 or accumulate > 1 or bool(config['clip'] or config['feedback_clip']),
    )


def _what(config, devices, plan, dataset, steps):
    sizes = ', '.join(f'{len(part.image):,} {name}' for name, part in dataset.parts.items())
    shares = f'{plan.batch} on each of {_count(devices, "device")}'
    if plan.accumulate > 1:
        shares += f' in {plan.accumulate} microbatches'
    passes = len(SCHEDULES[config['schedule']])
    return [
        ('data', f'{config["dataset"]}: {sizes}; {_shape(plan.network.in_shape)}'),
        ('rule', f'{config["rule"]}, {config["schedule"]}; {config["optimizer"]}'),
        ('batch', f'{config["batch_size"]}: {shares}'),
        ('types', f'{config["precision"]} products, float32 weights'),
        ('steps', f'{steps * passes:,} an epoch'),
    ]


def _layers(plan, phases):
    """A row for each layer: shapes, parameters, multiply-adds, uses in each phase."""
    uses = [trace.uses(*_of(plan), sides) for sides in phases.values()]
    depth = len(plan.network.layers)
    rows, totals = [('layer', 'in', 'out', 'parameters', 'multiply-adds', *phases)], [0, 0]
    for place, phased in enumerate(zip(*uses, strict=True), start=1):
        layer, own = phased[0][0], place > depth  # own: of the rule, not of the network
        numbers = [
            math.prod(layer.kernel_shape) + (0 if own else math.prod(layer.bias_shape)),
            math.prod(trace.linear_product(layer, 1)),
        ]
        if not own:
            totals = [total + new for total, new in zip(totals, numbers, strict=True)]
        ends = _shape(layer.in_shape), _shape(layer.out_shape)
        counts = ['+'.join(map(str, used)) for _, used in phased]
        rows.append(('rule' if own else place, *ends, *(f'{n:,}' for n in numbers), *counts))
    flops = [f'{trace.step_flops(plan, sides) / 1e9:.4g} GFLOP' for sides in phases.values()]
    return [*rows, ('net', '', '', *(f'{total:,}' for total in totals), *flops)]


def _of(plan):
    return plan.rule, plan.network, plan.auxiliary


def _resident(config, devices, state, plan, set_bytes):
    """Bytes of each device that do not depend on the phase."""
    weights = {side: trace.tree_bytes(state.weights[side]) for side in (*trace.SIDES, 'fixed')}
    moments = {side: trace.tree_bytes(tree) for side, tree in state.optimizer.items()}
    # The state is given away to the next one, except by pmap.
    anew = devices > 1 and config['parallel'] == 'pmap'
    cast = plan.itemsize < trace.WEIGHT  # the weights, in the type of the activations
    return {
        **{f'{side} weights': count for side, count in weights.items()},
        **{f'{side} optimiser': moments[side] for side in trace.SIDES if side in moments},
        'weights in half': cast * sum(weights.values()) * plan.itemsize // trace.WEIGHT,
        'state made anew': anew * sum((*weights.values(), *moments.values())),
        'data set': set_bytes,
        'batch': plan.batch * (plan.itemsize * math.prod(plan.network.in_shape) + 8),
    }


def _set_bytes(dataset):
    return sum(part.image.size + 4 * len(part.label) for part in dataset.parts.values())


def _bytes(resident, plan, phases):
    """A row for each use of memory, with those of the largest phase."""
    found = {**resident, **_temporaries(plan, phases, 'accelerator')}
    return [
        ('bytes on each device', ''),
        *((name, _size(value)) for name, value in found.items() if value),
        ('in all', _size(sum(found.values()))),
    ]


def _temporaries(plan, phases, backend):
    each = [trace.temporaries(plan, sides, backend) for sides in phases.values()]
    return max(each, key=lambda found: sum(found.values()))


def _load(plan, sides, state, streamed):
    moved, patches = trace.traffic(plan, sides, state)
    updates = sum(trace.tree_bytes(state.weights[side]) for side in sides)
    decoded = plan.batch if streamed else 0
    return machines.Load(trace.step_flops(plan, sides), moved, patches, updates, decoded)


def _times(config, devices, on, loads, plan, phases, resident, steps):
    """A row for each machine and phase: what it needs, and whether it fits."""
    names = ('arithmetic', 'memory', 'input', 'collective', 'step')
    rows = [('hardware', 'phase', *names, 'epoch', 'bound by', 'bytes')]
    for machine in on:
        needed = sum(resident.values())
        needed += sum(_temporaries(plan, phases, machine.backend).values())
        fits = 'fits: ' if needed <= machine.memory else 'does not fit: needs '
        fits += f'{_size(needed)} of {_size(machine.memory)}'
        each = {
            phase: machines.seconds(load, machine, devices, config['precision'])
            for phase, load in loads.items()
        }
        epoch = steps * sum(needs['step'] for needs in each.values())
        for phase, needs in each.items():
            times = [_seconds(needs[name]) for name in names]
            rows.append(
                (machine.title, phase, *times, _seconds(epoch), machines.bound(needs), fits)
            )
    return rows


def _notes(on):
    guessed = [machine.title for machine in on if machine.attainable == machines.GUESSED]
    arithmetic, bandwidth = machines.GUESSED
    shares = (
        f'{arithmetic:.0%} of the peak and {bandwidth:.0%} of the bandwidth of '
        f'{", ".join(guessed)} are taken as attainable: a guess.'
    )
    return [
        'Uses of a layer: linear + transpose + gradient, a product each; layers named rule are its',
        'own. Multiply-adds are those of one example.',
        f'Bytes from states to working are a model, within a factor of {EXACT} of XLA on a CPU.',
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
