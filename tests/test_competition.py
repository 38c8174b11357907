"""Units that compete: the norm identity, and the updates written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import numpy, problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.layers.base import input_axes
from bioprop.settings.keys import paper
from bioprop.settings.resolve import resolve

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def of(rule, net='fc'):
    return problem(rule, 'softmax', hidden=NETS[net], net=net).with_hparams(temperature=2)


@each_net
def test_norms_settle_at_one(net, x64):
    """w.dw = y u (1 - |w|^2), of each unit, summed over the places that share its weights."""
    p = of('soft_hebb', net)
    forward, updates = p.weights['forward'], p.updates()['forward']
    rows = list(zip(p.network.layers, forward, p.states[:-1], updates, strict=True))
    for layer, params, x, update in rows[:-1]:
        kernel, axes = params['kernel'], input_axes(params)
        u = layer.linear(kernel, x)
        won = jnp.mean(jax.nn.softmax(2 * u, axis=-1) * u, axis=0)
        won = won.reshape(-1, won.shape[-1]).sum(axis=0) if len(axes) > 1 else won
        moved = -jnp.sum(kernel * update['kernel'], axis=axes)
        close(moved, won * (1 - jnp.sum(kernel**2, axis=axes)))
        assert not np.any(update['bias'])


@pytest.mark.parametrize('rule', ['soft_hebb', 'competitive'])
def test_they_are_those_written_out_and_the_top_descends_the_loss(rule, x64):
    p = of(rule)
    w, h, updates = numpy((p.weights['forward'], p.states, p.updates()['forward']))
    h = [h[0].reshape(len(h[0]), -1), *h[1:]]
    for l in (1, 2, 3):
        kernel = w[l - 1]['kernel']
        u = h[l - 1] @ kernel
        y = np.exp(2 * u) / np.exp(2 * u).sum(axis=1, keepdims=True)
        expected = np.zeros_like(kernel)
        for x, value, share in zip(h[l - 1], u, y, strict=True):
            lost = value * kernel if rule == 'soft_hebb' else kernel
            expected -= share * (x[:, None] - lost) / len(u)
        close(updates[l - 1]['kernel'], expected)
    error = np.asarray(p.loss.error(p.states[-1], p.batch['label']))
    close(updates[3]['kernel'], h[3].T @ error / len(error))


def test_a_winner_that_takes_all_rests_at_the_mean_of_what_it_won(x64):
    p = of('competitive').with_hparams(temperature=1e6)
    x, kernel = np.asarray(p.states[0]).reshape(6, -1), p.weights['forward'][0]['kernel']
    for _ in range(20):  # batch k-means by the dot product, from the units' own weights
        won = np.argmax(x @ kernel, axis=1)
        kernel = np.stack([
            x[won == unit].mean(axis=0) if np.any(won == unit) else np.asarray(kernel)[:, unit]
            for unit in range(7)
        ], axis=1)  # fmt: skip
    forward = ({'kernel': jnp.asarray(kernel), 'bias': jnp.zeros(7)}, *p.weights['forward'][1:])
    p = p._replace(weights=p.weights | {'forward': forward})
    close(p.updates()['forward'][0]['kernel'], 0, atol=1e-9)


@each_net
def test_units_start_positive_and_of_one_norm(net):
    p = of('soft_hebb', net)
    weights = rules.init_weights(jax.random.key(0), p.network, p.rule)
    plain = rules.init_weights(jax.random.key(0), p.network, rules.bp())
    for own, other in zip(weights['forward'][:-1], plain['forward'], strict=False):
        assert np.all(np.asarray(own['kernel']) >= 0)
        axes = input_axes(own)
        norms = np.sqrt(np.sum(np.square(own['kernel']), axis=axes))
        np.testing.assert_allclose(norms, 2, rtol=1e-5)
        ratio = np.abs(other['kernel']) / own['kernel']  # each unit's is one number
        np.testing.assert_allclose(ratio.max(axis=axes), ratio.min(axis=axes), rtol=1e-4)
    np.testing.assert_array_equal(weights['forward'][-1]['kernel'], plain['forward'][-1]['kernel'])


def test_hidden_layers_learn_so_many_times_as_fast():
    p = of('soft_hebb')
    ((side, make),) = p.rule.transforms
    ones = jax.tree.map(jnp.ones_like, p.weights['forward'])
    steps, _ = make({'hidden_rate': 3.0}).update(ones, optax.EmptyState(), ones)
    assert side == 'forward'
    assert [float(own['kernel'].mean()) for own in steps] == pytest.approx([3, 3, 3, 1])


def test_competing_units_keep_their_norm():
    p = of('competitive')
    _, (side, make) = p.rule.transforms
    steps = jax.tree.map(
        lambda w: 0.3 * jnp.cos(jnp.arange(w.size)).reshape(w.shape), p.weights['forward']
    )
    found, _ = make({}).update(steps, optax.EmptyState(), p.weights['forward'])
    assert side == 'forward'
    for own, step, new in zip(p.weights['forward'][:-1], steps, found, strict=False):
        axes = input_axes(own)
        moved, kept = own['kernel'] + step['kernel'], own['kernel'] + new['kernel']
        norms = (jnp.linalg.norm(own['kernel'], axis=axes), jnp.linalg.norm(kept, axis=axes))
        np.testing.assert_allclose(*norms, rtol=1e-5)
        ratio = moved / kept
        np.testing.assert_allclose(ratio.max(axis=axes), ratio.min(axis=axes), rtol=1e-3)
        np.testing.assert_array_equal(new['bias'], step['bias'])
    jax.tree.map(np.testing.assert_array_equal, found[-1], steps[-1])


def test_they_need_units_that_compete_and_no_other_rule_has_such():
    with pytest.raises(UserError, match='activation=softmax or triangle, not'):
        resolve(paper('mnist_mini', 'soft_hebb', activation='tanh'))
    with pytest.raises(UserError, match='rules whose units compete'):
        resolve(paper('mnist_mini', 'bp', activation='triangle'))
    assert resolve(paper('mnist_mini', 'competitive'))['activation'] == 'softmax'


def test_a_slope_that_is_asked_for_is_refused():
    with pytest.raises(UserError, match='no slope'):
        problem('bp', 'softmax').updates()
