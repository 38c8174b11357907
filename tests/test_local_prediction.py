"""Local prediction: what a read-out at every layer says, and nothing from above."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, problem

from bioprop.losses import softmax_cross_entropy

pytestmark = pytest.mark.usefixtures('quick')
close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-13)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


@pytest.mark.parametrize('net', NETS)
def test_every_layer_descends_the_loss_of_its_own_read_out(net, x64):
    """The gradient of the summed losses, each layer's input held still."""
    p = problem('local_prediction', hidden=NETS[net], net=net)

    def losses(forward, feedback):
        h, total = p.batch['image'], 0.0
        for layer, params, own in zip(p.network.layers, forward, feedback, strict=True):
            h = layer.apply(params, jax.lax.stop_gradient(h))
            z = h if own is None else h.reshape(len(h), -1) @ own['kernel'] + own['bias'][None]
            total += jnp.mean(softmax_cross_entropy.value(z, p.batch['label']))
        return total

    sides = [p.weights[side] for side in ('forward', 'feedback')]
    forward, feedback = jax.grad(losses, (0, 1))(*sides)
    (_, aux), found = p.value_and_updates()
    top = jnp.mean(softmax_cross_entropy.value(p.states[-1], p.batch['label']))
    close(aux['feedback_loss'], losses(*sides) - top)
    jax.tree.map(close, found['forward'], forward)
    jax.tree.map(close, found['feedback'], feedback)


def test_read_outs_of_nothing_teach_hidden_layers_nothing(x64):
    p = problem('local_prediction')
    feedback = jax.tree.map(jnp.zeros_like, p.weights['feedback'])
    *hidden, top = p._replace(weights=p.weights | {'feedback': feedback}).updates()['forward']
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(hidden))
    assert np.any(top['kernel'])


def test_read_outs_begin_at_zero_and_read_all_units():
    p = problem('local_prediction', hidden=NETS['lc'], net='lc')
    feedback, fixed = p.rule.init(jax.random.key(0), p.network, p.weights['forward'])
    assert fixed == ()
    units = (4 * 3 * 3, 5)  # 4 x 3 places of three channels, and a dense layer
    shapes = [own and own['kernel'].shape for own in feedback]
    assert shapes == [*((count, CLASSES) for count in units), None]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(feedback))
