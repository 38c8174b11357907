"""Counter-current learning: two nets that meet in every layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, problem

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def with_feedback(p, change):
    """Another V_L, by change(V_L, W_L)."""
    *rest, top = p.weights['feedback']
    kernel = change(top['kernel'], p.weights['forward'][-1]['kernel'])
    return p._replace(weights=p.weights | {'feedback': (*rest, {'kernel': kernel})})


@pytest.mark.parametrize('net', NETS)
def test_both_nets_descend_their_distance_in_each_layer(net, x64):
    """jax.grad of the losses written out, what enters a layer held still."""
    p = problem('counter_current', hidden=NETS[net], net=net).with_hparams(scale=3.0)
    label = jax.nn.one_hot(p.batch['label'], CLASSES)

    def losses(forward, feedback):
        h, prototypes = p.batch['image'], [jnp.eye(CLASSES)]
        for l in range(len(p.network.layers) - 1, 0, -1):
            above = jax.lax.stop_gradient(prototypes[0])
            back = p.network.layers[l].transpose(feedback[l]['kernel'], above)
            prototypes.insert(0, p.network.layers[l - 1].activation(back))
        total = 0.0
        pairs = zip(p.network.layers, forward, prototypes, strict=True)
        for l, (layer, params, b) in enumerate(pairs, start=1):
            h = layer.apply(params, jax.lax.stop_gradient(h))
            if l == len(forward):
                return total + jnp.mean(p.loss.value(h, p.batch['label']))
            both = jnp.einsum('nu,ku->nk', h.reshape(len(h), -1), b.reshape(CLASSES, -1))
            distance = jnp.sum(jnp.square(both - label), axis=1).mean()
            total += 3.0 / (2 * CLASSES * h[0].size) * distance

    sides = [p.weights[side] for side in ('forward', 'feedback')]
    expected, found = jax.grad(losses, (0, 1))(*sides), p.updates()
    for side, tree in zip(('forward', 'feedback'), expected, strict=True):
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)  # noqa: E731
        jax.tree.map(close, found[side], tree)


def test_a_linear_net_with_the_weights_above_it_descends_half_the_squared_error(x64):
    """b_{L-1} = W_L^T: its products with h_{L-1} are the outputs, here without a bias."""
    p = problem('counter_current', 'linear').with_hparams(scale=1.0)
    p = with_feedback(p, lambda ours, theirs: theirs)
    top = p.weights['forward'][-1]
    output = p.states[-2] @ top['kernel']
    error = output - jax.nn.one_hot(p.batch['label'], CLASSES)
    expected = error @ top['kernel'].T / (CLASSES * p.states[-2].shape[1])
    np.testing.assert_allclose(p.deltas()[-2], expected, rtol=1e-12)


def test_feedback_of_nothing_teaches_hidden_layers_nothing(x64):
    p = with_feedback(problem('counter_current'), lambda ours, theirs: jnp.zeros_like(ours))
    *hidden, top = p.deltas()
    assert not any(np.any(delta) for delta in hidden)
    assert np.any(top)
