"""Benchmarks: products counted as by hand, rows complete, contestants that agree. No timings."""

import time
from types import SimpleNamespace

import chex
import cv2
import jax
import numpy as np
import pytest

from bioprop import rules
from bioprop.costs.products import flops
from bioprop.losses import softmax_cross_entropy
from bioprop.objective import objective
from bioprop.rules.direct_feedback import KINDS
from bioprop.settings import published
from experiments import benchmark
from experiments.benchmarks import dfa, input, local, nets, photographs, plain, step, timing

pytestmark = pytest.mark.usefixtures('quick')
TINY = nets.Net((4, 4, 2), ((3, 3, 2), 5), 4, 'lc', 'mnist')


@pytest.fixture(autouse=True)
def outside_bioprop(monkeypatch):
    """Benchmarks are written as users write JAX, and need no large arrays here."""
    monkeypatch.setattr(local, 'PRODUCT', 64)
    monkeypatch.setattr(local, 'PASS', 4096)
    with jax.numpy_rank_promotion('allow'):
        yield


def test_flops_of_the_rules_are_as_counted_by_hand():
    local_layer, dense, top = 2 * 7 * 4 * 18 * 3, 2 * 7 * 12 * 5, 2 * 7 * 5 * 4
    wide = 2 * 7 * 5 * (4 + 256)
    features = 2 * 7 * 5 * 256
    expected = {
        'bp': 2 * local_layer + 3 * (dense + top),
        'fa': 2 * local_layer + 3 * (dense + top),
        'dfa': 2 * (local_layer + dense + top) + 2 * 7 * 4 * (12 + 5),
        'dtp': 2 * local_layer + 7 * dense + 3 * top,
        'sdtp': 2 * local_layer + 7 * dense + (2 + 3 + 1 + 1) * top,
        'ao_sdtp': 2 * local_layer + 7 * dense + 3 * top + 4 * wide + 2 * features,
    }
    counted = {rule: flops(step.rule_products(rule, TINY, 7)) for rule in expected}
    assert counted == expected


def test_flops_of_mnist_are_those_of_the_published_table():
    net = nets.paper_net('mnist_fc')
    assert flops(step.rule_products('bp', net, 128)) == 306_053_120


def test_paper_nets_have_the_papers_shapes():
    net = nets.paper_net('cifar10_lc')
    assert (net.in_shape, net.outputs, net.dataset) == ((32, 32, 3), 10, 'cifar10')
    assert net.hidden == published.hidden_layers('cifar10', 'lc')
    assert step.parameters(net) == 50_039_818
    layers = {name: (in_shape, rest) for name, in_shape, *rest in local.net_layers('imagenet')}
    assert len(layers) == 7
    assert layers['imagenet_1'] == ((224, 224, 3), [48, 9, 4])
    assert layers['imagenet_3'] == ((28, 28, 48), [96, 5, 1])
    largest = local.Case('imagenet_3', *layers['imagenet_3'][:1], *layers['imagenet_3'][1], 256)
    assert largest.hidden_bytes == 4 * 256 * 28 * 28 * 48 * 25 * 25  # 24 GB, as was seen
    assert len(local.cases(None, full=True)) == 2 * (3 + 2 + 3 + 7)


def test_local_rows_have_their_keys_and_a_floor():
    case = local.Case('tiny', (5, 4, 2), 3, 3, 2, batch=2)
    assert case.flops == 2 * 2 * (3 * 2) * (3 * 3 * 2) * 3
    assert case.bytes == 4 * (6 * 18 * 3 + 2 * (5 * 4 * 2 + 6 * 3))
    assert local.floors(case, 0.0, 4.0)['floor'] == (
        pytest.approx(case.bytes * 4 / (8 * local.PASS)), pytest.approx(case.bytes / local.PASS)
    )  # fmt: skip
    rows = {row['contestant']: row for row in local.case_rows(case, 0.01)}
    names = {'bioprop', 'lax_autodiff', 'flax_conv_local', 'convolution'}
    names |= {'torch_unfold'} if local.has_torch() else set()
    assert rows.keys() == names | {'floor_flops', 'floor_bytes', 'floor'}
    for name, row in rows.items():
        assert row['case'] == 'tiny'
        assert row['ms_forward'] > 0
        assert row['ms_forward_backward'] > 0
        assert (row['peak_bytes'] is None) == ('floor' in name or 'torch' in name)
    assert 'forward_backward' in benchmark.table(list(rows.values()))


def test_a_contestant_that_is_wrong_or_too_large_is_not_timed(monkeypatch):
    case = local.Case('tiny', (5, 4, 2), 3, 3, 2, batch=2)
    made = local.contestants(case)
    local.check(case, made)
    output, kernel, x = made['lax_autodiff'].forward_backward()
    wrong = made['lax_autodiff']._replace(forward_backward=lambda: (output, 1.001 * kernel, x))
    with pytest.raises(AssertionError, match='tiny, batch 2: dW of lax_autodiff differs'):
        local.check(case, made | {'lax_autodiff': wrong})
    monkeypatch.setattr(local, 'memory_limit', lambda: 10**7)
    arguments = local.functions(case)['lax_autodiff'], *local.operands(case)
    assert local.jax_contestant(*arguments).forward
    assert local.jax_contestant(*arguments, hidden_bytes=10**7).forward is None
    monkeypatch.setattr(local, 'memory_limit', lambda: 0)
    large = local.jax_contestant(*arguments)
    assert large.forward is large.forward_backward is None
    assert large.peak_bytes > 0


@pytest.mark.parametrize('kind', ['lc', 'conv'])
def test_plain_bp_is_bp(kind):
    net = TINY._replace(kind=kind)
    batch = step.random_batch(net, 3)
    weights = plain.weights(net)

    def loss(weights):
        return plain.loss(net, weights, batch['image'], batch['label'])

    gradient = jax.jit(jax.grad(loss))(weights)
    forward = tuple({'kernel': kernel, 'bias': bias} for kernel, bias in weights)
    f = objective(net.network, rules.get('bp'), softmax_cross_entropy)
    updates, _ = jax.jit(jax.grad(f, has_aux=True))(
        {'forward': forward, 'feedback': (), 'fixed': ()}, batch, jax.random.key(0), {}
    )
    expected = [(params['kernel'], params['bias']) for params in updates['forward']]
    chex.assert_trees_all_close(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(('together', 'groups'), [(0, 2), (10**6, 1)])
def test_step_rows_have_their_keys(together, groups, monkeypatch):
    monkeypatch.setattr(step, 'TOGETHER', together)
    names = ('bp', 'dtp')
    assert len(step.groups(TINY, names)) == groups
    rows = step.net_rows(TINY, 3, 0.01, names)
    assert [row['contestant'] for row in rows] == ['plain_bp', 'bp', 'dtp']
    assert rows[0]['ratio_to_plain_bp'] == rows[1]['ratio_to_bp'] == 1
    assert all(row['ms_step'] > 0 and row['peak_bytes'] > 0 for row in rows)
    assert rows[2]['mflop'] > rows[1]['mflop'] == rows[0]['mflop']


def test_more_turns_of_the_feedback_add_its_products_and_no_other():
    one, two, three = (flops(step.rule_products('dtp', TINY, 3, k)) for k in (1, 2, 3))
    assert three - two == two - one > 0
    assert flops(step.rule_products('bp', TINY, 3, 3)) == flops(step.rule_products('bp', TINY, 3))


def test_dfa_rows_have_their_keys_and_signals_agree():
    stored, regenerated = (dfa.Signals(rules.dfa(feedback=kind), TINY, 3)() for kind in KINDS)
    chex.assert_trees_all_close(stored, regenerated, rtol=1e-5, atol=1e-6)
    assert [delta.shape for delta in stored] == [(3, 2, 2, 3), (3, 5), (3, 4)]
    rows = dfa.net_rows(TINY, 3, 0.01)
    assert [row['contestant'] for row in rows] == ['stored', 'regenerated']
    assert rows[0]['ratio_to_stored'] == rows[0]['bytes_to_stored'] == 1
    assert all(row['ms_signals'] > 0 and row['peak_bytes'] > 0 for row in rows)


def test_synthetic_photographs_are_like_photographs():
    """Neighbours are much alike, channels too, and a JPEG has about 4 bits a pixel."""
    image = photographs.photograph(np.random.default_rng(0), 256)
    flat = image.reshape(-1, 3).astype(float)
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > 0.9
    assert np.corrcoef(flat.T).min() > 0.7
    assert 2 < 8 * len(cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, 90))[1]) / 256**2 < 6


def test_input_rows_have_their_keys(monkeypatch):
    monkeypatch.setattr(input, 'IMAGENET_DIR', SimpleNamespace(value=None))
    monkeypatch.setattr(input, 'BATCHES', 2)
    monkeypatch.setattr(input, 'IMAGES', 60)
    rows = input.rows(5, 0.01)
    assert [row['contestant'] for row in rows] == ['threads', 'threads, files', 'stream']
    assert rows[0]['ratio_to_threads'] == rows[1]['ratio_to_threads_on_files'] == 1
    assert all(row['images_per_second'] > 0 for row in rows)


def test_interleave_lets_go_of_who_has_used_its_share():
    calls = {'quick': 0, 'slow': 0}

    def call(name, seconds):
        calls[name] += 1
        time.sleep(seconds)

    contestants = {
        'quick': lambda: call('quick', 0.001),
        'slow': lambda: call('slow', 0.02),
    }
    least = timing.interleave(contestants, 0.05, share=0.015)
    assert calls['slow'] == 1
    assert calls['quick'] > 2
    assert least['slow'] >= 20
    assert 1 <= least['quick'] < 20
