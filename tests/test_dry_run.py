"""The dry run: shapes of sets that are not there, times by hand, and a page that trains nothing."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from test_data import write_set

from bioprop.costs import machines, trace
from bioprop.costs.dry_run import load, page
from bioprop.costs.machines import MACHINES, Load
from bioprop.data import sets
from bioprop.data.shapes import describe
from bioprop.errors import UserError
from bioprop.rules import RULES
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from experiments.benchmarks.nets import paper_net
from experiments.benchmarks.step import HPARAMS, learner

ROOT = Path(__file__).parent.parent
HIDDEN = (
    (9, 48, 4), (3, 48, 2), (5, 96, 1), (3, 96, 2), (3, 192, 1), (3, 192, 2), (3, 384, 1)
)  # fmt: skip
ADAM = {'lr': 1e-4, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}
ADAMS = ADAM | {f'feedback_{name}': value for name, value in ADAM.items()}


@pytest.fixture(autouse=True)
def no_copies(monkeypatch, tmp_path):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'none'))


def config(dataset='cifar10', rule='dtp', **settings):
    return resolve(paper(dataset, rule, '', **settings))


def imagenet(rule='bp', **settings):
    own = {'sigma': 0.1, 'alpha': 0.1} if rule == 'dtp' else {}
    return config('imagenet2012', rule, net='lc', hidden=HIDDEN, **ADAMS, **own, **settings)


def rows(lines, first):
    """The lines from the one that starts with `first` to the next empty one, in words."""
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    table = lines[start : start + next(n for n, line in enumerate(lines[start:]) if not line)]
    return [line.split() for line in table]


def test_imagenet_is_described_without_a_copy():
    lines = page(imagenet(validation_fraction=0.01, batch_size=64), 1, ['tpu_v4'])
    words = {row[0]: row for row in rows(lines, 'layer')}
    assert words['net'][1] == '259,859,368'
    assert words['1'][1:4] == ['224x224x3', '56x56x48', f'{56 * 56 * (9 * 9 * 3 + 1) * 48:,}']
    assert words['8'][2] == '1000'
    held_out = round(0.01 * 1_281_167)
    assert f'{1_281_167 - held_out:,} train, {held_out:,} validation, 50,000 test' in lines[0]
    steps = next(line for line in lines if line.startswith('steps'))
    assert f'{(1_281_167 - held_out) // 64:,} an epoch' in steps
    sizes = {' '.join(row[:-2]): row[-2:] for row in rows(lines, 'bytes on')}
    assert sizes['forward weights'] == [f'{4 * 259_859_368 / 1e9:.2f}', 'GB']
    assert sizes['forward optimiser'] == [f'{8 * 259_859_368 / 1e9:.2f}', 'GB']
    assert 'data set' not in sizes


def test_images_take_the_size_that_is_asked_for():
    dataset = describe('imagenet2012', 0.1, image_size=64)
    assert dataset.train.image.shape == (1_281_167 - 128_117, 64, 64, 3)
    assert dataset.train.image.strides == (0, 0, 0, 0)  # one pixel in memory


@pytest.mark.parametrize('name', ['mnist_mini', 'cifar10'])
def test_a_described_set_has_the_shapes_of_the_loaded_one(name, tmp_path):
    if name != 'mnist_mini':
        write_set(tmp_path, name, '3.0.2', 'array_record', channels=3)
    loaded = sets.load(name, 0.1, str(tmp_path))
    described = describe(name, 0.1, str(tmp_path))
    assert described.classes == loaded.classes
    assert described.mean.shape == loaded.mean.shape
    for part in ('train', 'validation', 'test'):
        for here, there in zip(described.parts[part], loaded.parts[part], strict=True):
            assert (here.shape, here.dtype) == (there.shape, there.dtype)


@pytest.fixture
def own_rule(tmp_path, monkeypatch):
    """The name of a rule of the user's own."""
    (tmp_path / 'rules_of_mine.py').write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield 'rules_of_mine:rule'
    sys.modules.pop('rules_of_mine', None)


RULE = """
import jax
from bioprop.rules import Rule, no_feedback

def rule():
    def signals(network, weights, states, context):
        top, kernel = network.layers[-1], weights['forward'][-1]['kernel']
        settle = lambda delta, _: (top.linear(kernel, top.transpose(kernel, delta)), None)
        error, _ = jax.lax.scan(settle, context.error(states), length=50)
        return (*(0 * h for h in states[1:-1]), error)

    return Rule(no_feedback, signals)
"""


def test_a_rule_of_ones_own_has_its_products_counted(own_rule):
    lines = page(config(rule='bp', net='fc', hidden=(8, 6)) | {'rule': own_rule}, 1, ['h100'])
    layers = [100 * 3072 * 8, 100 * 8 * 6, 100 * 6 * 10]
    by_hand = 2 * (2 * sum(layers) + 2 * 50 * layers[-1])  # linear, gradient, and what settles
    assert rows(lines, 'step of')[1][:3] == ['forward', '106', f'{by_hand / 1e9:.4g}']
    assert any('an estimate for other rules' in line for line in lines)
    assert rows(lines, 'hardware')[1][:3] == ['H100', 'SXM', 'forward']


def test_nothing_is_compiled(caplog, own_rule):
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        page(config(net='lc'), 1, list(MACHINES))
        page(config(rule='bp') | {'rule': own_rule}, 2, list(MACHINES))
        assert 'ompil' not in caplog.text
        jax.jit(lambda x: x + 3)(1.0)
        assert 'ompil' in caplog.text  # that is how it would show


def test_times_are_those_counted_by_hand():
    on = MACHINES['h100']._replace(attainable=(0.5, 0.8))
    load = Load(flops=10**12, bytes=10**10, patches=2 * 10**10, updates=10**9, decoded=100)
    needs = machines.seconds(load, on, 4, 'bfloat16')
    assert needs['arithmetic'] == pytest.approx(1e12 / (989.4e12 / 2))
    assert needs['memory'] == pytest.approx(3e10 / (3.35e12 * 0.8))
    assert needs['input'] == pytest.approx(100 / (26 * machines.DECODED))
    # A ring sends each part of the updates around twice but for one hop of each.
    assert needs['collective'] == pytest.approx(2 * 3 / 4 * 1e9 / 450e9)
    assert (
        needs['step']
        == max(needs[n] for n in ('arithmetic', 'memory', 'input')) + (needs['collective'])
    )
    assert machines.bound(needs) == 'memory'
    assert machines.seconds(load, on, 1, 'bfloat16')['collective'] == 0
    across = machines.seconds(load, on, 16, 'bfloat16')
    assert across['collective'] == pytest.approx(2 * 15 / 16 * 1e9 / 50e9)
    exact = machines.seconds(load, on, 4, 'float32')
    assert exact['arithmetic'] == pytest.approx(1e12 / (494.7e12 / 2))


def test_a_core_does_one_thing_after_another_and_caches_patches():
    on = MACHINES['cpu_core']
    load = Load(flops=10**9, bytes=10**9, patches=10**12, updates=0, decoded=0)
    needs = machines.seconds(load, on, 1, 'float32')
    assert needs['memory'] == pytest.approx(1e9 / (on.bandwidth * on.attainable[1]))
    assert needs['step'] == pytest.approx(needs['arithmetic'] + needs['memory'])


@pytest.mark.parametrize(
    ('net', 'file', 'batch'),
    [('mnist_fc', 'benchmark_step', 128), ('cifar10_lc', 'benchmark_step_cifar10_lc', 100)],
)
def test_times_of_a_core_are_near_those_measured(net, file, batch):
    """The measured ones are those of the committed benchmark."""
    rows = json.loads((ROOT / 'results' / f'{file}.json').read_text())['rows']
    measured = {row['contestant']: row['ms_step'] / 1e3 for row in rows}
    net = paper_net(net)
    for rule in sorted(measured.keys() & RULES.keys()):
        made = learner(rule, net)
        step = trace.trace_step(made, (tuple(made.optimizers),), batch, HPARAMS, backend='cpu')
        asked = load(step, streamed=False)
        predicted = machines.seconds(asked, MACHINES['cpu_core'], 1, 'float32')['step']
        assert 1 / 1.5 < predicted / measured[rule] < 1.5, rule


def bounds(lines):
    """The bound of each row of the times."""
    return [
        next(word for word in ('arithmetic', 'memory', 'input', 'collective') if word in row)
        for row in rows(lines, 'hardware')[1:]
    ]


def test_the_bound_is_named():
    """Weights that are used once for each of few examples; many small images; arithmetic alone."""
    assert bounds(page(imagenet(batch_size=1), 1, ['tpu_v4', 'h100'])) == ['memory'] * 2
    small = imagenet() | {'net': 'conv', 'hidden': ((9, 8, 8),), 'batch_size': 1024}
    assert bounds(page(small, 1, ['tpu_v4', 'h200'])) == ['input'] * 2
    wide = config(net='fc', hidden=(8192,) * 4, batch_size=20_000)
    assert bounds(page(wide, 1, ['tpu_v4', 'cpu_core'])) == ['arithmetic'] * 2
    assert bounds(page(imagenet(batch_size=16), 16, ['h100'])) == ['collective']


def test_what_does_not_fit_is_said():
    lines = page(imagenet('dtp', batch_size=4096), 1, ['tpu_v5e', 'h200'])
    v5e, h200 = (
        next(line for line in lines if line.startswith(title)) for title in ('TPU v5e', 'H200 SXM')
    )
    assert 'does not fit: needs' in v5e
    assert 'of 17.18 GB' in v5e
    assert 'fits: ' in h200


def test_options_of_scale_are_counted():
    """Those of a configuration that has the keys; others are as without them."""
    plain = config(net='lc', batch_size=64)
    half, parts, anew = (
        '\n'.join(page(plain | changed, devices, ['tpu_v4']))
        for changed, devices in (
            ({'precision': 'bfloat16'}, 1), ({'accumulate': 4}, 4),
            ({'parallel': 'shard_map'}, 4),
        )
    )  # fmt: skip
    assert 'bfloat16 products, float32 weights' in half
    assert '16 on each of 4 devices in 4 microbatches' in parts
    assert 'state made anew' in parts
    assert 'state made anew' not in anew


@pytest.mark.parametrize(
    ('arguments', 'devices', 'hardware', 'message'),
    [
        ({}, 3, ['h100'], 'batch_size = 100 must be a multiple of 3 devices'),
        ({'accumulate': 8}, 2, ['h100'], '2 devices x 8 microbatches'),
        ({}, 1, ['h10'], "no hardware 'h10'; did you mean 'h100'"),
        ({'rule': 'no_rules_of_mine:rule'}, 1, ['h100'], 'no_rules_of_mine'),
        ({'dataset': 'stl10'}, 1, ['h100'], "'stl10' is not known before it is prepared"),
    ],
)
def test_bad_input_is_one_message(arguments, devices, hardware, message):
    with pytest.raises(UserError, match=message):
        page(config() | arguments, devices, hardware)


def test_every_machine_is_plausible():
    for name, on in MACHINES.items():
        assert on.flops['bfloat16'] >= on.flops['float32'] > on.bandwidth, name
        assert on.bandwidth > on.link >= on.network > 0, name
        assert all(0 < share <= 1 for share in on.attainable), name


def test_main_prints_the_page_and_trains_nothing(tmp_path):
    command = [
        sys.executable, '-m', 'bioprop.main',
        f'--config={ROOT / "configs/cifar10_dtp.py"}:net=lc,schedule=alternating', '--dry_run',
        '--devices=4', '--hardware=tpu_v4,h100',
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={'PYTHONPATH': str(ROOT), 'PATH': '', 'JAX_PLATFORMS': 'cpu'},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    assert '25 on each of 4 devices' in done.stdout
    times = rows(done.stdout.split('\n'), 'hardware')
    assert [row[2] for row in times[1:]] == ['feedback', 'forward'] * 2
