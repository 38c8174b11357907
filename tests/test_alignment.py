"""Feedback that is drawn to the weights: where its scalars come to rest."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop import networks
from bioprop.rules import Context

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 4, 1), 5)}
PULL, SHRINK = 1.4, 0.7
RULES = ('symmetric_alignment', 'activation_alignment', 'weight_mirror', 'information_alignment')


def at(p, factor):
    """The problem in which B_l is so many times W_l."""
    kernels = [{'kernel': factor * params['kernel']} for params in p.weights['forward']]
    weights = p.weights | {'feedback': (None, *kernels[1:])}
    return p._replace(weights=weights).with_hparams(pull=PULL, shrink=SHRINK)


def feedback_updates(p, context=None):
    """d feedback_loss / dB_l; the context may be another than the problem's."""
    context = context or Context(p.loss, p.batch, p.key, p.hparams)

    def loss(feedback):
        weights = p.weights | {'feedback': feedback}
        return p.rule.feedback_loss(p.network, weights, p.states, context)

    return [own['kernel'] for own in jax.grad(loss)(p.weights['feedback'])[1:]]


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('name', RULES[:2])
def test_it_rests_where_feedback_is_so_many_times_the_weights(name, net, x64):
    p = problem(name, hidden=NETS[net], net=net)
    for update in feedback_updates(at(p, PULL / SHRINK)):
        close(update, 0)
    assert all(np.abs(update).max() > 1e-2 for update in feedback_updates(at(p, 1.0)))


@pytest.mark.parametrize('net', NETS)
def test_symmetric_alignment_is_the_gradient_of_its_scalar(net, x64):
    p = problem('symmetric_alignment', hidden=NETS[net], net=net).with_hparams(pull=2, shrink=3)
    for update, own, params in zip(
        feedback_updates(p), p.weights['feedback'][1:], p.weights['forward'][1:], strict=True
    ):
        close(update, 3 * own['kernel'] - 2 * params['kernel'])


class White(Context):
    """A context whose noise is a basis: of all inputs one after another, of variance 1."""

    def noise(self, l, h):
        """sqrt(n) e_i for the i-th example of n inputs."""
        n = h[0].size
        return jnp.sqrt(float(n)) * jnp.eye(n).reshape(n, *h.shape[1:])


def mirrored(net):
    """(the shrinkless update of the top but one layer, its kernel, how often each tap is used)."""
    shape, hidden = ((3, 2, 2), ((2, 3, 1), (2, 4, 1))) if net != 'fc' else ((5,), (6, 7))
    network = networks.feedforward(shape, hidden, 4, net=net)
    p = problem('weight_mirror', network=network, in_shape=shape).with_hparams(pull=1, shrink=0)
    layer, kernel = network.layers[1], p.weights['forward'][1]['kernel']
    context = White(p.loss, p.batch, p.key, p.hparams)
    used = jax.grad(lambda k: jnp.sum(layer.linear(k, jnp.ones((1, *layer.in_shape)))))(kernel)
    return feedback_updates(p, context)[0], kernel, used


@pytest.mark.parametrize('net', NETS)
def test_white_noise_mirrors_each_weight_as_often_as_it_is_used(net, x64):
    """Once on dense layers and on local ones, but on padding; on n places in a convolution."""
    update, kernel, used = mirrored(net)
    close(update, -used * kernel)
    if net == 'fc':
        close(used, 1)
    if net == 'lc':
        assert set(np.unique(used)) == {0, 1}
    if net == 'conv':  # a kernel of 2 x 2 over 3 x 2 places, padded on one side
        assert np.asarray(used)[..., 0, 0].ravel().tolist() == [6, 3, 4, 2]


def test_the_mirrors_noise_is_normal_and_of_its_own_for_each_layer_and_example(x64):
    """On average its update is that of white noise, within what so many draws leave."""
    p = problem('weight_mirror').with_hparams(pull=1, shrink=0)
    keys = jax.random.split(jax.random.key(1), 4000)
    draw = jax.jit(
        jax.vmap(lambda key: feedback_updates(p, Context(p.loss, p.batch, key, p.hparams)))
    )
    for draws, params in zip(draw(keys), p.weights['forward'][1:], strict=True):
        mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(keys))
        assert np.abs((mean + params['kernel']) / error).max() < 6  # of some hundred numbers


@pytest.mark.parametrize('net', NETS)
def test_information_alignment_is_the_loss_of_a_linear_autoencoder(net, x64):
    """1/2 |h - T(B, F(W, h))|^2 but for a constant: target propagation's inverse, g linear."""
    p = problem('information_alignment', hidden=NETS[net], net=net).with_hparams(pull=1, shrink=0)

    def loss(feedback):
        total = 0.0
        for l, layer in enumerate(p.network.layers[1:], start=1):
            up = layer.linear(p.weights['forward'][l]['kernel'], p.states[l])
            back = layer.transpose(feedback[l]['kernel'], up)
            total += jnp.sum(jnp.square(p.states[l] - back)) / 2 / len(back)
        return total

    expected = jax.grad(loss)(p.weights['feedback'])[1:]
    for update, own in zip(feedback_updates(p), expected, strict=True):
        close(update, own['kernel'])


def test_information_alignment_rests_at_the_inverse_of_the_weights(x64):
    """On white activities: at pinv(W)^T, which is W only if W is orthogonal."""
    p = problem('information_alignment', in_shape=(5,), hidden=(4, 3), size=4)
    p = p.with_hparams(pull=1, shrink=0)
    kernel = p.weights['forward'][1]['kernel']
    inverse = np.linalg.pinv(kernel).T
    states = (p.states[0], 2 * jnp.eye(4), *p.states[2:])
    feedback = (None, {'kernel': jnp.asarray(inverse)}, p.weights['feedback'][2])

    def loss(feedback):
        context = Context(p.loss, p.batch, p.key, p.hparams)
        return p.rule.feedback_loss(p.network, p.weights | {'feedback': feedback}, states, context)

    close(jax.grad(loss)(feedback)[1]['kernel'], 0)
    assert np.abs(inverse - kernel).max() > 0.1


@pytest.mark.parametrize('name', RULES)
def test_forward_weights_and_states_are_held_still(name, x64):
    p = problem(name)
    context = Context(p.loss, p.batch, p.key, p.hparams)

    def loss(forward, states):
        weights = p.weights | {'forward': forward}
        return p.rule.feedback_loss(p.network, weights, states, context)

    for leaf in jax.tree.leaves(jax.grad(loss, (0, 1))(p.weights['forward'], p.states)):
        close(leaf, 0)
