"""Dual propagation and early inference tend to backpropagation, by their orders."""

import functools

import numpy as np
import pytest
from problems import distance, numpy, problem

from bioprop import rules
from bioprop.rules import Context
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), 5)}
BETAS = (0.03, 0.01, 0.003)


def to_bp(p):
    """The distance of the updates to backpropagation's."""
    return distance(p.updates()['forward'], p.bp_updates())


def order(p, **hparams):
    return order_of([to_bp(p.with_hparams(beta=b, **hparams)) for b in BETAS], BETAS)


@pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])
@pytest.mark.parametrize(('centred', 'expected'), [(True, 2), (False, 1)])
def test_early_inference_is_backpropagation_by_its_order(centred, expected, net, x64):
    p = problem(rules.early_inference(centred), hidden=NETS[net], net=net)
    assert order(p) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])
@pytest.mark.parametrize(('alpha', 'expected'), [(0.5, 2), (0.0, 1), (1.0, 1)])
def test_dual_propagation_is_backpropagation_by_its_order(alpha, expected, net, x64):
    p = problem('dual_propagation', hidden=NETS[net], net=net)
    assert order(p, alpha=alpha) == pytest.approx(expected, abs=0.1)


def test_dual_propagation_of_a_linear_net_is_exact_at_any_beta(x64):
    p = problem('dual_propagation', 'linear').with_hparams(beta=1, alpha=0.5)
    assert to_bp(p) < 1e-12


def test_of_relu_it_is_exact_while_no_unit_crosses_its_kink(x64):
    p = problem('dual_propagation', 'relu').with_hparams(beta=1e-6, alpha=0.5)
    assert to_bp(p) < 1e-9


@pytest.mark.parametrize('alpha', [0.0, 0.3, 1.0])
def test_dual_propagation_is_the_one_written_out(alpha, x64):
    p = problem('dual_propagation').with_hparams(beta=0.4, alpha=alpha)
    w, h = numpy(p.weights['forward']), numpy(p.states)
    h = [h[0].reshape(len(h[0]), -1), *h[1:]]
    error = np.asarray(Context(p.loss, p.batch, p.key, p.hparams).error(p.states))
    plus = {4: h[4] - (1 - alpha) * 0.4 * error}
    minus = {4: h[4] + alpha * 0.4 * error}
    for l in (3, 2, 1):
        back = (plus[l + 1] - minus[l + 1]) @ w[l]['kernel'].T
        plus[l] = np.tanh(np.arctanh(h[l]) + (1 - alpha) * back)
        minus[l] = np.tanh(np.arctanh(h[l]) - alpha * back)
    for l, update in enumerate(p.updates()['forward'], start=1):
        mean = h[0] if l == 1 else alpha * plus[l - 1] + (1 - alpha) * minus[l - 1]
        gap = (minus[l] - plus[l]) / 0.4 / len(mean)
        close(update['kernel'], mean.T @ gap, rtol=1e-7)
        close(update['bias'], gap.sum(axis=0), rtol=1e-7)
