"""Predictive coding: the gradient of its energy, and where it is backpropagation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.rules import Context
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1), 5)}
LAYERS = 4
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def context_of(p):
    return Context(p.loss, p.batch, p.key, p.hparams)


def energy(p, forward, v):
    """E over the batch of states (v_0, ..., v_{L-1}), as a mean."""
    mu = [f.apply(w, x) for f, w, x in zip(p.network.layers, forward, v, strict=True)]
    gaps = sum(jnp.sum(jnp.square(x - m)) / 2 for x, m in zip(v[1:], mu[:-1], strict=True))
    return (gaps + jnp.sum(p.loss.value(mu[-1], p.batch['label']))) / len(mu[-1])


def settle(p, eta, steps):
    """The states after gradient steps down the energy of each example."""
    v = tuple(p.states[:-1])
    for _ in range(steps):
        down = jax.grad(lambda v: len(v[0]) * energy(p, p.weights['forward'], v))(v)
        v = (v[0], *(x - eta * d for x, d in zip(v[1:], down[1:], strict=True)))
    return v


def trees_close(found, expected, **tolerance):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(one, other, **tolerance)


def distances(p):
    """Of each layer's update to backpropagation's, as a share."""
    found = []
    for one, other in zip(p.updates()['forward'], p.bp_updates(), strict=True):
        gap = np.linalg.norm(one['kernel'] - other['kernel'])
        found.append(float(gap / np.linalg.norm(other['kernel'])))
    return found


@each_net
def test_strict_predictive_coding_descends_its_energy_in_states_and_weights(net, x64):
    p = problem(rules.predictive_coding(steps=3), hidden=NETS[net], net=net).with_hparams(eta=0.1)
    v = settle(p, 0.1, 3)
    gradient = jax.grad(lambda forward: energy(p, forward, v))(p.weights['forward'])
    trees_close(p.updates()['forward'], gradient)


def test_summed_over_inference_it_adds_the_gradients_on_the_way(x64):
    p = problem(rules.predictive_coding(steps=3, summed=True)).with_hparams(eta=0.1)
    total = jax.tree.map(jnp.zeros_like, p.weights['forward'])
    for steps in (1, 2, 3):
        v = settle(p, 0.1, steps)
        gradient = jax.grad(lambda forward, v=v: energy(p, forward, v))(p.weights['forward'])
        total = jax.tree.map(jnp.add, total, gradient)
    trees_close(p.updates()['forward'], total)


@each_net
def test_fixed_predictions_are_backpropagation_after_a_step_a_layer(net, x64):
    steps = len(NETS[net])
    p = problem(rules.fixed_prediction(steps), hidden=NETS[net], net=net).with_hparams(eta=1)
    assert max(distances(p)) < 1e-12
    less = p._replace(rule=rules.fixed_prediction(steps - 1))
    assert distances(less)[0] == 1  # the lowest layer has not heard of it
    slow = p._replace(rule=rules.fixed_prediction(100)).with_hparams(eta=0.5)
    assert max(distances(slow)) < 1e-10


@each_net
@pytest.mark.parametrize('activation', ['tanh', 'relu'])
def test_zero_divergence_is_backpropagation(activation, net, x64):
    assert max(distances(problem('zero_divergence', activation, hidden=NETS[net], net=net))) < 1e-12


def test_nudged_takes_a_sweep_a_layer(x64):
    """With fewer some layer has heard of its own prediction alone."""
    p = problem(rules.nudged_predictive_coding(LAYERS)).with_hparams(beta=1e-5)
    assert max(distances(p)) < 1e-6
    less = p._replace(rule=rules.nudged_predictive_coding(LAYERS - 1))
    assert max(distances(less)) > 0.5


@each_net
def test_nudged_is_backpropagation_by_the_square_of_beta(net, x64):
    p = problem(rules.nudged_predictive_coding(LAYERS), hidden=NETS[net], net=net)
    betas = (0.03, 0.01, 0.003)
    errors = [max(distances(p.with_hparams(beta=beta))) for beta in betas]
    assert order_of(errors, betas) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    'make', [rules.predictive_coding, rules.fixed_prediction, rules.nudged_predictive_coding]
)
def test_without_a_step_it_is_refused(make):
    with pytest.raises(UserError, match='one step at least, not 0'):
        make(0)
