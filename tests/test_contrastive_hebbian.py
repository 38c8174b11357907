"""Contrastive Hebbian learning, GeneRec's forms, recurrent backpropagation: against gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import distance, problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.layers import dense
from bioprop.rules.hebbian import FORMS
from bioprop.rules.relaxation import relax, weakly
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])
SETTLED, GAMMA = 150, 0.3


def mild(p):
    """The problem with a third of its weights: its net settles."""
    small = {side: jax.tree.map(lambda w: w / 3, p.weights[side]) for side in p.weights}
    return p._replace(weights=small)


def relaxed_gradient(p, kernels_of):
    """jax.grad of the loss of the relaxed states, by all weights."""

    def loss(weights):
        forward = weights['forward']
        h = relax(
            p.network, forward, p.network.states(forward, p.batch['image']), weakly(GAMMA), SETTLED,
            kernels=kernels_of(weights),
        )  # fmt: skip
        return jnp.mean(p.loss.value(h[-1], p.batch['label']))

    return jax.grad(loss)(p.weights)


# ------------------------------------------------------------------ forms


def test_forms_are_those_written_out(x64):
    layer = dense(3)((4,))
    random = np.random.default_rng(0)
    params = {'kernel': jnp.zeros((4, 3)), 'bias': jnp.zeros(3)}
    x, y, a, b = (random.normal(size=(6, n)) for n in (4, 4, 3, 3))

    def outer(post, pre):
        return pre.T @ post / 6

    expected = {
        'plain': outer(a - b, x),
        'midpoint': outer(a - b, (x + y) / 2),
        'symmetric': outer(a - b, x) + outer(a, x - y),
        'chl': outer(a, x) - outer(b, y),
    }
    found = {name: form(layer, params, (x, y), (a, b), 1.0) for name, form in FORMS.items()}
    for name, kernel in expected.items():
        close(found[name]['kernel'], kernel)
        close(found[name]['bias'], (a - b).mean(axis=0))
    close(expected['chl'] - expected['symmetric'], -outer(a - b, x - y))


# ------------------------------------------------------------------ contrastive Hebbian learning


@each_net
@pytest.mark.parametrize('clamp', ['softmax', 'linear'])
def test_with_gamma_it_goes_to_backpropagation(clamp, net, x64):
    rule = rules.contrastive_hebbian(clamp=clamp, free_steps=60, clamped_steps=60)
    p = mild(problem(rule, hidden=NETS[net], net=net))
    gammas = (0.03, 0.01, 0.003)
    errors = [
        distance(p.with_hparams(gamma=gamma).updates()['forward'], p.bp_updates())
        for gamma in gammas
    ]
    assert errors[-1] < 0.05
    assert order_of(errors, gammas) == pytest.approx(1, abs=0.1)


def test_fixed_feedback_that_is_the_weights_makes_it_the_tied_rule(x64):
    p = mild(problem('random_contrastive_hebbian'))
    kernels = [{'kernel': params['kernel']} for params in p.weights['forward']]
    p = p._replace(weights=p.weights | {'fixed': (None, *kernels[1:])})
    tied = p._replace(rule=rules.contrastive_hebbian(), weights=p.weights | {'fixed': ()})
    assert distance(p.updates()['forward'], tied.updates()['forward']) < 1e-12
    for h, same in zip(p.states, tied.states, strict=True):
        close(h, same)


def test_the_top_sends_down_the_output_or_the_logits(x64):
    for clamp in ('softmax', 'linear'):
        p = mild(problem(rules.contrastive_hebbian(clamp=clamp, free_steps=SETTLED)))
        p = p.with_hparams(gamma=GAMMA)
        h, forward = p.states, p.weights['forward']
        sent = p.loss.output(h[-1]) if clamp == 'softmax' else h[-1]
        a = p.network.layers[2].potential(forward[2], h[2])
        back = sent @ forward[3]['kernel'].T
        close(h[3], jnp.tanh(a + GAMMA * back))
        close(h[4], p.network.layers[3].apply(forward[3], h[3]))


@pytest.mark.parametrize('options', [{'form': 'hebb'}, {'clamp': 'hard'}])
def test_another_option_is_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        rules.contrastive_hebbian(**options)


# ------------------------------------------------------------------ recurrent backpropagation


@each_net
def test_it_is_the_gradient_through_the_relaxation(net, x64):
    rule = rules.recurrent_backpropagation(free_steps=SETTLED, adjoint_steps=SETTLED)
    p = mild(problem(rule, hidden=NETS[net], net=net)).with_hparams(gamma=GAMMA)
    expected = relaxed_gradient(p, lambda weights: None)['forward']
    assert distance(p.updates()['forward'], expected) < 1e-11


@each_net
def test_untied_feedback_learns_by_the_gradient_too(net, x64):
    rule = rules.recurrent_backpropagation(False, SETTLED, SETTLED)
    p = mild(problem(rule, hidden=NETS[net], net=net)).with_hparams(gamma=GAMMA)
    expected = relaxed_gradient(
        p, lambda weights: tuple(own and own['kernel'] for own in weights['feedback'])
    )
    updates = p.updates()
    for side in ('forward', 'feedback'):
        assert distance(updates[side], expected[side]) < 1e-11


def test_with_gamma_it_is_backpropagation(x64):
    p = mild(problem(rules.recurrent_backpropagation(free_steps=60, adjoint_steps=60)))
    gammas = (0.03, 0.01, 0.003)
    errors = [
        distance(p.with_hparams(gamma=gamma).updates()['forward'], p.bp_updates())
        for gamma in gammas
    ]
    assert order_of(errors, gammas) == pytest.approx(1, abs=0.1)


def test_a_short_adjoint_is_a_truncated_sum(x64):
    """From 0: after one sweep the top alone has heard of the error."""
    p = mild(problem(rules.recurrent_backpropagation(adjoint_steps=1)))
    updates = p.updates()['forward']
    assert not np.any(updates[1]['bias'])
    assert np.any(updates[3]['bias'])
