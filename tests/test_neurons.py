"""Dendrites, microcircuits and bursts: their limits are backpropagation and feedback alignment."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import distance, measure, problem

from bioprop import networks, rules
from bioprop.errors import UserError
from bioprop.layers import dense
from bioprop.layers.base import ACTIVATIONS
from bioprop.rules import Context, integrate_and_fire, poisson
from bioprop.rules.kernel_feedback import init_fixed_feedback
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.testing import check_rule, order_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def of(rule, net='fc'):
    return problem(rule, hidden=NETS[net], net=net)


def right(p):
    """The problem with an output that is the label to the bit."""
    top, label = p.weights['forward'][-1], int(p.batch['label'][0])
    kernel, bias = jnp.zeros_like(top['kernel']), jnp.zeros_like(top['bias']).at[label].set(1e4)
    forward = (*p.weights['forward'][:-1], {'kernel': kernel, 'bias': bias})
    batch = p.batch | {'label': jnp.full_like(p.batch['label'], label)}
    return p._replace(weights=p.weights | {'forward': forward}, batch=batch)


def kernels(p, of_kernel=lambda kernel: kernel):
    """(None, {'kernel': of W_2}, ...)."""
    return (None, *({'kernel': of_kernel(w['kernel'])} for w in p.weights['forward'][1:]))


def with_weights(p, **sides):
    return p._replace(weights=p.weights | sides)


# ------------------------------------------------------------------ segregated dendrites


@each_net
def test_of_a_small_gain_plateaus_are_direct_feedback_alignment(net, x64):
    p = of('segregated_dendrites', net)
    error = p.loss.error(p.states[-1], p.batch['label'])
    expected = [
        (error @ b.T).reshape(h.shape)
        for b, h in zip(p.weights['fixed'][:-1], p.states[1:-1], strict=True)
    ]
    gains = (0.1, 0.03, 0.01)

    def found(gain):
        return p.with_hparams(gain=gain, scale=4 / gain).deltas()[:-1]

    assert order_of([distance(found(gain), expected) for gain in gains], gains) == pytest.approx(
        2, abs=0.1
    )
    assert distance(found(1e-3), expected) < 1e-5


@pytest.mark.parametrize('rule', ['segregated_dendrites', 'microcircuit'])
def test_an_output_that_is_right_teaches_nothing_at_all(rule, x64):
    p = right(of(rule))
    if rule == 'microcircuit':  # in the self-predicting state
        p = with_weights(p, feedback=(None, *p.weights['forward'][1:]))
    assert not any(np.any(delta) for delta in p.deltas())


# ------------------------------------------------------------------ bursts


@each_net
def test_burstccn_is_backpropagation_by_the_square_of_its_nudge(net, x64):
    p = of('burst', net)
    p = with_weights(p, fixed=kernels(p), feedback=kernels(p, lambda kernel: kernel / 2))
    nudges = (0.1, 0.03, 0.01)
    errors = [
        distance(p.with_hparams(nudge=nudge).updates()['forward'], p.bp_updates())
        for nudge in nudges
    ]
    assert order_of(errors, nudges) == pytest.approx(2, abs=0.1)
    assert distance(p.with_hparams(nudge=1e-5).updates()['forward'], p.bp_updates()) < 1e-8


def test_silent_where_there_is_no_error_and_drawn_there_by_its_own_potential(x64):
    p = right(of('burst'))
    halves = tuple(own and {'kernel': own['kernel'] / 2} for own in p.weights['fixed'])
    silent = with_weights(p, feedback=halves)
    assert not any(np.any(delta) for delta in silent.deltas())
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(silent.updates()['feedback']))


def test_the_feedback_of_bursts_learns_to_silence_each_layer_by_itself(x64):
    """By NumPy: dQ_{l+1} = - e_{l+1} (x) u_l, of u_l = Y^T b - Q^T e."""
    p = of('burst').with_hparams(nudge=0.3)
    y, q = ([own and np.asarray(own['kernel']) for own in side] for side in (
        p.weights['fixed'], p.weights['feedback'],
    ))  # fmt: skip
    h = list(map(np.asarray, p.states))
    e = np.asarray(p.loss.output(p.states[-1]))
    b = e / 2 - 0.3 * np.asarray(p.loss.error(p.states[-1], p.batch['label']))
    updates = p.updates()['feedback']
    for l in (3, 2, 1):
        u = b @ y[l].T - e @ q[l].T
        close(updates[l]['kernel'], -u.T @ e / len(u))
        share = 1 / (1 + np.exp(-4 * u * 2 * (1 - h[l])))
        close(p.deltas()[l - 1], (0.5 - share) / (2 * (1 - h[l]) * 0.3))
        e = (1 + h[l]) / 2
        b = share * e


@each_net
def test_burstprop_is_feedback_alignment_with_the_gain_of_its_free_bursts(net, x64):
    p = of(rules.burst('burstprop'), net)
    layers, h = p.network.layers, p.states
    bursts = p.loss.output(h[-1]) / 2
    delta = p.loss.error(h[-1], p.batch['label'])
    expected, taught = [delta], delta
    for l in range(len(layers) - 1, 0, -1):
        kernel = p.weights['fixed'][l]['kernel']
        share = jax.nn.sigmoid(8 * layers[l].transpose(kernel, bursts) * (1 - h[l]))
        bursts = share * (1 + h[l]) / 2
        gained = 4 * share * (1 - share) * layers[l].transpose(kernel, taught)
        expected.append(gained)
        taught = layers[l - 1].slope(h[l]) * gained
    nudges = (1e-2, 1e-3, 1e-4)
    errors = [distance(p.with_hparams(nudge=n).deltas(), expected[::-1]) for n in nudges]
    assert order_of(errors, nudges) == pytest.approx(1, abs=0.1)
    assert distance(p.with_hparams(nudge=1e-6).deltas(), expected[::-1]) < 1e-5
    assert not any(np.any(delta) for delta in right(p).deltas())


def test_another_form_of_bursts_is_refused():
    with pytest.raises(UserError, match='form'):
        rules.burst('bursts')


# ------------------------------------------------------------------ microcircuits


@each_net
def test_a_self_predicting_microcircuit_is_backpropagation_by_its_nudge(net, x64):
    p = of('microcircuit', net)
    predicting = (None, *p.weights['forward'][1:])
    p = with_weights(p, fixed=kernels(p), feedback=predicting).with_hparams(lam=1)
    nudges = (1e-2, 1e-3, 1e-4)
    errors = [
        distance(p.with_hparams(nudge=nudge).updates()['forward'], p.bp_updates())
        for nudge in nudges
    ]
    assert order_of(errors, nudges) == pytest.approx(1, abs=0.1)
    for lam in (1, 0.3):
        near = p.with_hparams(nudge=1e-6, lam=lam).updates()['forward']
        assert distance(near, p.bp_updates()) < 1e-5


def test_it_begins_in_the_self_predicting_state():
    p = of('microcircuit')
    forward = p.network.init(jax.random.key(0))
    feedback, fixed = p.rule.init(jax.random.key(1), p.network, forward)
    jax.tree.map(np.testing.assert_array_equal, feedback, (None, *forward[1:]))
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((forward, feedback))]
    assert len(set(places)) == len(places)  # a step may be given all of them to write over
    same = init_fixed_feedback(jax.random.key(1), p.network, forward)[1]
    jax.tree.map(np.testing.assert_array_equal, fixed, same)


def test_interneurons_learn_to_predict_the_layer_above_as_it_is_taught(x64):
    p = of('microcircuit').with_hparams(lam=0.4, nudge=0.3)
    own, down, h = p.weights['feedback'], p.weights['fixed'], list(map(np.asarray, p.states))
    above = h[4] - 0.3 * np.asarray(p.loss.error(p.states[-1], p.batch['label']))
    updates, deltas = p.updates()['feedback'], p.deltas()
    for l in (3, 2, 1):
        a = h[l] @ own[l]['kernel'] + own[l]['bias'][None]
        error = (a if l == 3 else np.tanh(a)) - above
        close(updates[l]['kernel'], h[l].T @ error / len(error))
        close(updates[l]['bias'], error.mean(axis=0))
        v = -error @ down[l]['kernel'].T
        close(deltas[l - 1], -v / (0.3 * 0.4 ** (3 - l)))
        above = np.tanh(np.arctanh(h[l]) + 0.4 * v)


# ------------------------------------------------------------------ others


def test_two_sites_are_kolen_pollack_under_another_name(x64):
    p, other = of('two_sites'), of('kolen_pollack')
    jax.tree.map(np.testing.assert_array_equal, p.updates(), other.updates())


def test_a_lif_unit_fires_as_the_fit_of_its_rate(x64):
    """0.82 tanh(0.08 j), for currents j in units of the slope at 0, and silent below."""
    j = jnp.linspace(-5, 40, 91)
    a = 0.82 * 0.08 * j
    expected = np.where(j > 0, 0.82 * np.tanh(0.08 * j), 0)
    close(ACTIVATIONS['lif'].function(a), expected)


def test_broadcast_alignment_is_direct_feedback_alignment_of_such_units(x64):
    p = problem('broadcast_alignment', 'lif')
    context = Context(p.loss, p.batch, p.key, p.hparams)
    same = rules.dfa().signals(p.network, p.weights, p.states, context)
    for one, other in zip(p.deltas(), same, strict=True):
        close(one, other)


# ------------------------------------------------------------------ spikes


def rates_of_poisson(p):
    """(s, C) of every layer where every rate is what its soma says."""
    s, somata = [poisson.PHI * jnp.clip(p.batch['image'], 0, 1)], []
    for layer, params in zip(p.network.layers, p.weights['forward'], strict=True):
        somata.append(6 / 7 * layer.potential(params, s[-1]))
        s.append(poisson.PHI * jax.nn.sigmoid(somata[-1]))
    return s, somata


@pytest.mark.parametrize('net', ['fc', 'lc'])
def test_spikes_approach_the_rates_as_one_over_the_root_of_time(net, x64):
    p = of(rules.segregated_dendrites(spiking=True), net)
    s, somata = rates_of_poisson(p)

    def errors(steps):
        context = Context(p.loss, p.batch, p.key, p.hparams)
        found = poisson.phase(p.network, p.weights['forward'], context, steps + 100, 100)
        return [float(jnp.linalg.norm(a - b)) for a, b in zip(found.potentials, s, strict=True)]

    times = (100, 1600, 25600)
    found = np.array([errors(t) for t in times])
    slopes = np.polyfit(np.log(times), np.log(found), 1)[0]
    assert np.all(np.abs(slopes + 0.5) < 0.2)
    assert len(somata) == len(p.network.layers)


def test_uniform_numbers_fill_the_interval_and_are_of_their_own(x64):
    """24 x 999 of them: layers, examples, and both halves of both words of a block are apart."""
    p, h = of('bp'), np.zeros((6, 999))
    drawn = np.stack([p.uniform(l, h) for l in (1, 2, 3, 4)]).reshape(24, 999)
    assert 0 < drawn.min() < 1e-3
    assert 1 - 1e-3 < drawn.max() < 1
    counts = np.histogram(drawn, 16, (0, 1))[0]
    assert np.sum((counts - 24 * 999 / 16) ** 2 / (24 * 999 / 16)) < 45  # of chi^2_15, odds 1e-4
    centred = drawn - 0.5
    np.testing.assert_allclose(12 * centred @ centred.T / 999, np.eye(24), atol=0.2)
    first, second = centred[:, :500], centred[:, 500:]
    for one, other in [(first[:, :-1], second), (centred[:, :-1], centred[:, 1:])]:
        assert abs(12 * np.mean(one * other)) < 0.05
    share = p._replace(batch=p.batch | {'index': jnp.array([4, 1, 5])})
    np.testing.assert_array_equal(share.uniform(2, h[:3]), p.uniform(2, h)[np.array([4, 1, 5])])


def test_poisson_counts_have_their_odds(x64):
    uniform = (jnp.arange(200_000) + 0.5) / 200_000
    for mean in (0.01, 0.2):
        counts = np.asarray(poisson._poisson(jnp.full_like(uniform, mean), uniform))
        for number in range(4):
            odds = np.exp(-mean) * mean**number / math.factorial(number)
            assert np.mean(counts == number) == pytest.approx(odds, abs=1e-5)


def test_a_taught_output_is_drawn_to_its_reversal_potentials(x64):
    p = of(rules.segregated_dendrites(spiking=True, steps=200, settle=100))
    context = Context(p.loss, p.batch, p.key, p.hparams)
    taught = poisson.phase(p.network, p.weights['forward'], context, 200, 100, taught=True)
    free = poisson.phase(p.network, p.weights['forward'], context, 200, 100)
    right = jax.nn.one_hot(p.batch['label'], 4)
    moved = taught.somata[-1] - free.somata[-1]
    assert np.all((moved > 0) == (right > 0))
    # At rest 0.1 C = 0.6 (a - C) + E - C.
    a = np.asarray(free.somata[-1]) * 7 / 6
    rest = (0.6 * a + 8 * (2 * right - 1)) / 1.7
    np.testing.assert_allclose(taught.somata[-1], rest, atol=0.3)


@pytest.mark.parametrize('current', [0.5, 1.0, 3.0, 20.0])
def test_a_unit_under_a_constant_current_fires_at_its_rate(current, x64):
    network = networks.network([dense(1, 'lif'), dense(1, 'linear')], (1,))
    kernel = jnp.full((1, 1), current * integrate_and_fire.SLOPE)
    params = {'kernel': kernel, 'bias': jnp.zeros(1)}
    for steps in (400, 6400):
        (rate,) = integrate_and_fire.rates(network, [params, params], jnp.ones((1, 1)), steps, 0)
        between = math.floor(math.log(1 - 0.4 / current) / math.log(1 - 0.25 / 20)) + 1
        assert float(rate[0, 0]) == pytest.approx(4 / (3 + between), abs=8 / steps)


@pytest.mark.parametrize('make', [rules.segregated_dendrites, rules.broadcast_alignment])
def test_a_spiking_rule_keeps_the_contract(make):
    check_rule(make(spiking=True, steps=6, settle=2))


@pytest.mark.parametrize('name', ['segregated_dendrites', 'broadcast_alignment'])
def test_a_spiking_rule_is_asked_for_by_its_option(name):
    config = resolve(paper('mnist_mini', name, 'spiking=True,steps=60,inputs=unit'))
    assert (config['spiking'], config['steps'], config['lr']) == (True, 60, 1e-3)


@pytest.mark.parametrize('make', [rules.segregated_dendrites, rules.broadcast_alignment])
def test_a_time_that_ends_before_it_counts_is_refused(make):
    with pytest.raises(UserError, match='below steps = 5'):
        make(spiking=True, steps=5, settle=5)


def test_spiking_units_are_taught_as_their_mean_outputs_are(x64):
    p = problem(rules.broadcast_alignment(spiking=True, steps=40, settle=10), 'lif')
    hidden = integrate_and_fire.rates(p.network, p.weights['forward'], p.batch['image'], 40, 10)
    for found, expected in zip(p.states[1:-1], hidden, strict=True):
        close(found, expected)
    assert any(0 < float(h.mean()) < 1 for h in hidden)
    error = p.loss.error(p.states[-1], p.batch['label'])
    for l, update in enumerate(p.updates()['forward'][:-1], start=1):
        h = p.states[l]
        slope = jnp.where(h > 0, 1 - (h / 0.82) ** 2, 0)
        delta = 0.8 * (error @ p.weights['fixed'][l - 1].T).reshape(h.shape) * slope
        x = p.states[l - 1].reshape(len(h), -1)
        close(update['kernel'], x.T @ delta / len(h))


def test_the_spikes_of_integrate_and_fire_units_are_counted(x64):
    """In 2 s, of units that all feel the same current."""
    p = problem(rules.broadcast_alignment(spiking=True, steps=8000, settle=0), 'lif', hidden=(3,))
    below, top = p.weights['forward']
    bias = jnp.full_like(below['bias'], 3.0 * integrate_and_fire.SLOPE)
    forward = ({'kernel': jnp.zeros_like(below['kernel']), 'bias': bias}, top)
    found = measure(with_weights(p, forward=forward), 'firing')
    between = math.floor(math.log(1 - 0.4 / 3) / math.log(1 - 0.25 / 20)) + 1
    spikes = 2000 / (0.25 * (3 + between))
    assert 2 * float(found['spike_rate/layer_1']) == pytest.approx(spikes, abs=1)
    assert float(found['spike_rate/total/spread']) < 1e-9


def test_the_spikes_of_poisson_units_are_those_of_their_rates(x64):
    p = of(rules.segregated_dendrites(spiking=True, steps=8000, settle=100))
    found, (s, _) = measure(p, 'firing'), rates_of_poisson(p)
    for l in (1, 2, 3):
        expected = 1000 * float(s[l].mean())
        assert float(found[f'spike_rate/layer_{l}']) == pytest.approx(expected, rel=0.02)
    units = [7, 6, 5]
    layers = [float(found[f'spike_rate/layer_{l}']) for l in (1, 2, 3)]
    assert float(found['spike_rate/total']) == pytest.approx(np.average(layers, weights=units))


def test_units_that_do_not_spike_have_no_spikes():
    assert measure(of('segregated_dendrites'), 'firing') == {}
