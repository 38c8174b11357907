"""PEPITA: the second pass, in closed form where the net is linear, and in its limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop.rules.tangents import tangents
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def push(p):
    """F e, in the shape of the images, at scale 1."""
    error = p.loss.error(p.states[-1], p.batch['label'])
    return (error @ p.weights['fixed'].T).reshape(p.batch['image'].shape)


def linear_update(layer, params, x, delta):
    """The VJP of the layer without its activation, averaged over the batch."""
    affine = layer._replace(activation=lambda a: a)
    _, pullback = jax.vjp(lambda params: affine.apply(params, x), params)
    return jax.tree.map(lambda update: update / len(x), pullback(delta)[0])


@pytest.mark.parametrize('net', NETS)
def test_without_feedback_hidden_layers_stay_and_the_top_is_backpropagation(net, x64):
    p = problem('pepita', hidden=NETS[net], net=net).with_hparams(feedback_scale=0)
    *hidden, top = p.updates()['forward']
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(hidden))
    expected = p.bp_updates()[-1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), top, expected)


@pytest.mark.parametrize('net', NETS)
def test_on_a_linear_net_the_signal_is_minus_f_e_sent_up(net, x64):
    """h_l - h'_l = -W_l ... W_1 F e, at any size of F; what comes in is the second pass's."""
    p = problem('pepita', 'linear', hidden=NETS[net], net=net).with_hparams(feedback_scale=1.7)
    up = 1.7 * push(p)
    x = p.batch['image'] + up
    error = p.loss.error(p.states[-1], p.batch['label'])
    found = p.updates()['forward']
    for l, (layer, params) in enumerate(zip(p.network.layers, p.weights['forward'], strict=True)):
        up = layer.linear(params['kernel'], up)
        delta = -up if l + 1 < len(found) else error
        expected = linear_update(layer, params, x, delta)
        x = layer.apply(params, x)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)  # noqa: E731
        jax.tree.map(close, found[l], expected)


@pytest.mark.parametrize('net', NETS)
def test_small_feedback_sends_minus_the_tangent_along_f_e(net, x64):
    """The update over the scale tends to that of -t_l, to first order."""
    p, scales = problem('pepita', hidden=NETS[net], net=net), (1e-2, 1e-3, 1e-4)
    layer, params = p.network.layers[0], p.weights['forward'][0]
    h, direction = p.states[1], push(p)
    first = layer.slope(h) * layer.linear(params['kernel'], direction)
    onward = tangents(p.network, p.weights['forward'], p.states, dstates=(first,) + (0.0,) * 9)
    expected = linear_update(p.network.layers[1], p.weights['forward'][1], h, -onward[1])['kernel']

    def error(scale):
        found = p.with_hparams(feedback_scale=scale).updates()['forward'][1]['kernel'] / scale
        return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))

    errors = [error(scale) for scale in scales]
    assert order_of(errors, scales) == pytest.approx(1, abs=0.05)
    assert errors[-1] < 1e-3
