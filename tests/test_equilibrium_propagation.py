"""Equilibrium propagation: the limit is the gradient of the loss at the free fixed point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop.losses import softmax_cross_entropy
from bioprop.rules.equilibrium_propagation import equilibrium_propagation
from bioprop.rules.relaxation import relax
from bioprop.testing import order_of
from bioprop.training.evaluation import evaluate
from bioprop.training.images import Images
from bioprop.training.learner import Learner

pytestmark = pytest.mark.usefixtures('quick')
GAMMA, SETTLED = 0.3, 150
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def settled(net='fc', centred=True, **steps):
    rule = equilibrium_propagation(
        **{'free_steps': SETTLED, 'nudged_steps': SETTLED} | steps, centred=centred
    )
    return problem(rule, hidden=NETS[net], net=net).with_hparams(gamma=GAMMA, beta=0.1)


def passed(p):
    """The states of the forward pass."""
    return p.network.states(p.weights['forward'], p.batch['image'])


def gradient(p):
    """jax.grad of the loss where the net has settled."""

    def loss(forward):
        states = p.network.states(forward, p.batch['image'])
        states = relax(p.network, forward, states, GAMMA, SETTLED)
        return jnp.mean(softmax_cross_entropy.value(states[-1], p.batch['label']))

    return jax.grad(loss)(p.weights['forward'])


def error(p, beta, expected):
    """The distance of the update to what is expected, relative."""
    found, wanted = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (p.with_hparams(beta=beta).updates()['forward'], expected)
    )
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize(('centred', 'order', 'least'), [(True, 2, 1e-4), (False, 1, 2e-2)])
def test_it_tends_to_the_gradient_of_the_settled_net(net, centred, order, least, x64):
    p, betas = settled(net, centred), (0.1, 0.03, 0.01)
    expected = gradient(p)
    errors = [error(p, beta, expected) for beta in betas]
    assert order_of(errors, betas) == pytest.approx(order, abs=0.1)
    assert errors[-1] < least


def test_of_a_value_for_each_layer_it_takes_the_tops(x64):
    p = settled(free_steps=3, nudged_steps=3)
    layers = len(p.network.layers)
    each = p.with_hparams(gamma=[9.0] * (layers - 1) + [GAMMA], beta=[9.0] * (layers - 1) + [0.1])
    for found, expected in zip(each.states, p.states, strict=True):
        np.testing.assert_array_equal(found, expected)
    jax.tree.map(np.testing.assert_array_equal, each.updates()['forward'], p.updates()['forward'])


@pytest.mark.parametrize('gamma', [0.0, 1e-3])
def test_without_feedback_inference_is_the_forward_pass_and_the_limit_backpropagation(gamma, x64):
    """The lower layers see the label through gamma^(L-l), by which their update is divided."""
    p = settled(nudged_steps=12).with_hparams(gamma=gamma or 1e-3, beta=1e-2)
    states = relax(p.network, p.weights['forward'], passed(p), gamma, 20)
    distance = max(np.abs(a - b).max() for a, b in zip(states, passed(p), strict=True))
    assert distance < 30 * gamma + 1e-14
    if gamma:
        assert error(p, 1e-2, p.bp_updates()) < 20 * gamma


@pytest.mark.parametrize('net', NETS)
def test_the_energy_never_rises(net, x64):
    p = settled(net)
    forward, top = p.weights['forward'], len(p.network.layers)

    def energy(h):
        """G of tanh is the integral of its inverse; of the linear top, half the square."""
        total = 0.0
        for l, (layer, params) in enumerate(zip(p.network.layers, forward, strict=True), start=1):
            a = layer._replace(activation=lambda a: a).apply(params, h[l - 1])
            g = (
                jnp.square(h[l]) / 2
                if l == top
                else (h[l] * jnp.arctanh(h[l]) + jnp.log1p(-jnp.square(h[l])) / 2)
            )
            total += GAMMA**l * jnp.sum(g - h[l] * a)
        return float(total)

    states, energies = passed(p), []
    for _ in range(12):
        energies.append(energy(states))
        states = relax(p.network, forward, states, GAMMA, 1)
    assert max(np.diff(energies)) < 1e-12
    assert energies[-1] < energies[0]


def test_a_net_is_read_where_it_has_settled(x64):
    """Training's loss and evaluation's are those of the relaxed states."""
    p = settled()
    (_, aux), _ = p.value_and_updates()
    states = relax(p.network, p.weights['forward'], passed(p), GAMMA, SETTLED)
    np.testing.assert_allclose(aux['logits'], states[-1], rtol=1e-10)
    pixels = np.random.default_rng(0).integers(256, size=(7, *p.network.in_shape))
    scale = jnp.full(1, 128.0), jnp.full(1, 60.0)
    images = Images(jnp.asarray(pixels, jnp.uint8), jnp.arange(7) % 4, *scale)
    learner = Learner(p.network, p.rule, softmax_cross_entropy, {})
    sums = evaluate(learner, 3, p.weights, p.hparams, images)
    inputs, forward = images.batch(), p.weights['forward']
    h = relax(p.network, forward, p.network.states(forward, inputs['image']), GAMMA, SETTLED)
    expected = softmax_cross_entropy.value(h[-1], inputs['label']).sum()
    np.testing.assert_allclose(sums['loss'], expected, rtol=1e-10)
