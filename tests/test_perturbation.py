"""Learning from a scalar: directional derivatives, exact, by differences, and on average."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop.rules import forward_gradient, node_perturbation, weight_perturbation
from bioprop.rules.base import random_signs
from bioprop.rules.tangents import signs_like, tangents
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def backpropagated(p):
    """dL/dh_l of each example."""
    bp = problem('bp', hidden=p.hidden, net=p.net)
    return bp._replace(weights=p.weights, batch=p.batch).deltas()


@pytest.mark.parametrize('net', NETS)
def test_tangents_are_the_derivative_of_the_pass(net, x64):
    p = problem('bp', hidden=NETS[net], net=net)
    forward = p.weights['forward']
    change = signs_like(jax.random.key(1), forward)
    found = tangents(p.network, forward, p.states, dparams=change)

    def moved(step):
        weights = jax.tree.map(lambda w, v: w + step * v, forward, change)
        return p.network.states(weights, p.batch['image'])[1:]

    for t, ahead, behind in zip(found, moved(1e-6), moved(-1e-6), strict=True):
        np.testing.assert_allclose(t, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('net', NETS)
def test_forward_gradient_is_the_gradient_along_a_direction_times_it(net, x64):
    p = problem(forward_gradient(), hidden=NETS[net], net=net)
    direction = signs_like(p.key, p.weights['forward'])
    slope = flat(p.bp_updates()) @ flat(direction)
    expected = jax.tree.map(lambda v: slope * v, direction)
    jax.tree.map(close, p.updates()['forward'], expected)


@pytest.mark.parametrize('net', NETS)
def test_of_activities_each_example_has_a_derivative_of_its_own(net, x64):
    p = problem(forward_gradient('activities'), hidden=NETS[net], net=net)
    directions = [p.signs(l, h) for l, h in enumerate(p.states[1:-1], start=1)]
    *below, top = backpropagated(p)
    slope = sum((d * u).reshape(len(u), -1).sum(1) for d, u in zip(below, directions, strict=True))
    *found, error = p.deltas()
    close(error, top)
    for delta, u in zip(found, directions, strict=True):
        close(delta.reshape(len(u), -1), slope[:, None] * u.reshape(len(u), -1))


@pytest.mark.parametrize('net', NETS)
def test_node_perturbation_tends_to_the_forward_gradient_of_activities(net, x64):
    p, sigmas = problem(node_perturbation(), hidden=NETS[net], net=net), (1e-2, 1e-3, 1e-4)
    exact = flat(p._replace(rule=forward_gradient('activities')).deltas())

    def error(sigma):
        return np.linalg.norm(flat(p.with_hparams(sigma=sigma).deltas()) - exact)

    errors = [error(sigma) / np.linalg.norm(exact) for sigma in sigmas]
    assert order_of(errors, sigmas) == pytest.approx(1, abs=0.1)
    assert errors[-1] < 1e-2


@pytest.mark.parametrize('net', NETS)
def test_weight_perturbation_both_ways_tends_to_the_forward_gradient_twice_as_fast(net, x64):
    p, sigmas = problem(weight_perturbation(), hidden=NETS[net], net=net), (0.03, 0.01, 0.003)
    exact = flat(p._replace(rule=forward_gradient()).updates()['forward'])

    def error(sigma):
        return np.linalg.norm(flat(p.with_hparams(sigma=sigma).updates()['forward']) - exact)

    errors = [error(sigma) / np.linalg.norm(exact) for sigma in sigmas]
    assert order_of(errors, sigmas) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 1e-2


@pytest.mark.parametrize('of', ['weights', 'activities'])
def test_on_average_it_is_the_gradient(of, x64):
    """Every entry within what so many draws leave of the error; and far from it in one draw."""
    p = problem(forward_gradient(of))
    updates = jax.jit(jax.vmap(lambda key: _updates(p, key)))
    draws = updates(jax.random.split(jax.random.key(2), 4000))
    mean = draws.mean(axis=0)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    exact = flat(p.bp_updates())
    assert np.all(np.abs(mean - exact) < 6 * error + 1e-12)
    cosine = mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact)
    assert cosine > {'weights': 0.95, 'activities': 0.99}[of]


def _updates(p, key):
    found = jax.grad(
        lambda forward: p.objective(p.weights | {'forward': forward}, p.batch, key, p.hparams)[0]
    )(p.weights['forward'])
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(found)])


def test_an_update_is_the_mean_over_parts_of_the_batch(x64):
    """All devices draw one direction: the mean of their updates is the update of the whole."""
    p = problem(forward_gradient())
    halves = [
        p._replace(batch={name: x[part] for name, x in p.batch.items()})
        for part in (slice(3), slice(3, None))
    ]
    mean = (flat(halves[0].updates()['forward']) + flat(halves[1].updates()['forward'])) / 2
    close(mean, flat(p.updates()['forward']))


def test_directions_are_signs_at_even_odds_and_of_their_own(x64):
    """E v v^T = 1: 3 layers, 6 examples and 500 places are as many draws, all of them apart."""
    p, h = problem('bp'), np.zeros((6, 500))
    drawn = np.stack([p.signs(l, h) for l in (1, 2, 3)]).reshape(18, 500)
    assert set(np.unique(drawn)) == {-1, 1}
    np.testing.assert_allclose(drawn @ drawn.T / 500, np.eye(18), atol=0.25)
    assert abs(drawn.mean()) < 0.06  # 5.7 deviations
    along = drawn[:, :32].mean(axis=0)  # no place of a word is always the same
    assert np.all(np.abs(along) < 1)
    order = jnp.array([4, 1, 5])
    share = p._replace(batch=p.batch | {'index': order})
    np.testing.assert_array_equal(share.signs(2, h[:3]), p.signs(2, h)[order])


def test_signs_fill_any_shape():
    for shape in ((), (1,), (32,), (3, 11)):
        found = random_signs(jax.random.key(0), shape, 'float32')
        assert (found.shape, found.dtype) == (shape, np.float32)
