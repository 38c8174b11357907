"""The Boltzmann machine against the sum over its states, and recirculation against gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, distance, numpy, problem

from bioprop import rules
from bioprop.testing import order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (4,), 'lc': ((2, 2, 2),), 'conv': ((2, 2, 2),)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def log_odds(forward, image, label, network):
    """-log P(label | image), by the sum over every state of the spins and of the labels."""
    below, top = network.layers
    a = below.potential(forward[0], image[None]).ravel()
    spins = jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=a.size)))
    outputs = top.linear(forward[1]['kernel'], spins.reshape(-1, *below.out_shape))
    energies = spins @ a[:, None] + outputs + forward[1]['bias'][None]
    free = jax.nn.logsumexp(energies)
    return free - jax.nn.logsumexp(energies[:, label])


def machine(net):
    shape = (2, 2, 1) if net != 'fc' else (3,)
    return problem('boltzmann', hidden=NETS[net], net=net, in_shape=shape)


@each_net
def test_one_hidden_layer_descends_the_likelihood_of_the_labels(net, x64):
    p = machine(net)

    def mean(forward):
        pairs = zip(p.batch['image'], p.batch['label'], strict=True)
        return sum(log_odds(forward, x, y, p.network) for x, y in pairs) / len(p.batch['label'])

    close(jnp.mean(p.loss.value(p.states[-1], p.batch['label'])), mean(p.weights['forward']))
    expected = jax.grad(mean)(p.weights['forward'])
    for found, gradient in zip(p.updates()['forward'], expected, strict=True):
        close(found['kernel'], gradient['kernel'])
        close(found['bias'], gradient['bias'])


def test_deeper_machines_are_contrastive_hebbian_learning_at_full_strength(x64):
    p = problem('boltzmann')
    chl = p._replace(rule=rules.contrastive_hebbian()).with_hparams(gamma=1)
    for found, expected in zip(p.updates()['forward'], chl.updates()['forward'], strict=True):
        close(found['kernel'], expected['kernel'])


@each_net
def test_sampled_it_goes_to_the_same_as_one_over_the_root_of_the_sweeps(net, x64):
    """Of 64 chains an image: its update over as many draws."""
    p, chains = machine(net), 64
    batch = {name: jnp.repeat(x[:2], chains, axis=0) for name, x in p.batch.items()}
    p = p._replace(batch=batch | {'index': jnp.arange(2 * chains)})
    exact = numpy(p.updates()['forward'])

    def error(sweeps):
        found = numpy(p._replace(rule=rules.boltzmann(gibbs=sweeps)).updates()['forward'])
        return distance(found, exact)

    few, many = error(100), error(6400)
    assert many < 0.05  # eight times less but for luck, some 5 % of it
    assert 4 < few / many < 16


def test_deeper_machines_are_sampled_as_they_are(x64):
    """Two hidden layers of two spins: the mean over all states of both phases."""
    p = problem('boltzmann', hidden=(2, 2), in_shape=(3,), size=1)
    first, second, third = p.weights['forward']
    x, label = p.batch['image'], int(p.batch['label'][0])
    states = []
    for h1 in itertools.product((-1.0, 1.0), repeat=2):
        for h2 in itertools.product((-1.0, 1.0), repeat=2):
            for k in range(CLASSES):
                h1_, h2_, o = np.array([h1]), np.array([h2]), np.eye(CLASSES)[k][None]
                energy = np.sum(h1_ * (x @ first['kernel'] + first['bias'][None]))
                energy += np.sum(h2_ * (h1_ @ second['kernel'] + second['bias'][None]))
                energy += np.sum(o * (h2_ @ third['kernel'] + third['bias'][None]))
                states.append((energy, k, x.T @ h1_, h1_.T @ h2_, h2_.T @ o))

    def mean(members):
        weights = np.exp(np.array([each[0] for each in members]))
        weights /= weights.sum()
        return [
            sum(w * each[place] for w, each in zip(weights, members, strict=True))
            for place in (2, 3, 4)
        ]

    free, clamped = mean(states), mean([each for each in states if each[1] == label])
    batch = {name: jnp.repeat(value, 256, axis=0) for name, value in p.batch.items()}
    p = p._replace(batch=batch | {'index': jnp.arange(256)}, rule=rules.boltzmann(gibbs=2000))
    for update, one, other in zip(p.updates()['forward'], free, clamped, strict=True):
        np.testing.assert_allclose(update['kernel'], one - other, atol=0.02)


# ------------------------------------------------------------------ recirculation


def tied():
    """One hidden layer, V = W, over linear visible units."""
    p = problem('recirculation', hidden=(5,), in_shape=(7,))
    own = p.weights['feedback'][0] | {'kernel': p.weights['forward'][0]['kernel']}
    return p._replace(weights=p.weights | {'feedback': (own, None)})


def test_near_the_input_it_descends_the_error_of_reconstruction(x64):
    p = tied()

    def loss(params):
        h = p.network.layers[0].apply(params, p.batch['image'])
        back = h @ p.weights['feedback'][0]['kernel'].T + p.weights['feedback'][0]['bias'][None]
        return jnp.sum(jnp.square(p.batch['image'] - back)) / 2 / len(back)

    expected = jax.grad(loss)(p.weights['forward'][0])  # by W alone: V has its own update
    away, errors = (0.1, 0.03, 0.01), []
    for gap in away:
        found = p.with_hparams(lam=1 - gap).updates()['forward'][0]
        scale = gap**2
        errors.append(np.linalg.norm(found['kernel'] / scale - expected['kernel']))
    assert errors[-1] < 0.1 * np.linalg.norm(expected['kernel'])
    assert order_of(errors, away) == pytest.approx(1, abs=0.15)


def test_it_is_the_one_written_out_and_the_top_descends_the_loss(x64):
    p = problem('recirculation').with_hparams(lam=0.6)
    w, v, h = numpy((p.weights['forward'], p.weights['feedback'], p.states))
    h = [h[0].reshape(len(h[0]), -1), *h[1:]]
    updates, size = numpy(p.updates()), len(h[0])
    for l in (1, 2, 3):
        own = v[l - 1]
        back = h[l] @ own['kernel'].T + own['bias'].reshape(1, -1)
        again = 0.6 * h[l - 1] + 0.4 * (back if l == 1 else np.tanh(back))
        third = 0.6 * h[l] + 0.4 * np.tanh(again @ w[l - 1]['kernel'] + w[l - 1]['bias'])
        close(updates['forward'][l - 1]['kernel'], again.T @ (third - h[l]) / size)
        close(updates['feedback'][l - 1]['kernel'], (again - h[l - 1]).T @ h[l] / size)
        bias = (again - h[l - 1]).mean(axis=0)
        close(updates['feedback'][l - 1]['bias'].ravel(), bias)
    close(updates['forward'][3]['kernel'], numpy(p.bp_updates())[3]['kernel'])
    assert h[4].shape == (size, CLASSES)
