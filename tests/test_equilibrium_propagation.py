"""Equilibrium propagation: the limit is the gradient of the loss at the free fixed point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem

from bioprop.errors import UserError
from bioprop.losses import softmax_cross_entropy
from bioprop.rules.equilibrium_propagation import equilibrium_propagation
from bioprop.rules.recurrent_backpropagation import recurrent_backpropagation
from bioprop.rules.relaxation import odd_even, relax, weakly
from bioprop.testing import order_of
from bioprop.training.evaluation import evaluate
from bioprop.training.images import Images
from bioprop.training.learner import Learner

pytestmark = pytest.mark.usefixtures('quick')
GAMMA, SETTLED = 0.3, 150
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def settled(net='fc', nudge='centred', form='energy', **steps):
    steps = {'free_steps': SETTLED, 'nudged_steps': SETTLED} | steps
    rule = equilibrium_propagation(nudge, form, **steps)
    return problem(rule, hidden=NETS[net], net=net).with_hparams(gamma=GAMMA, beta=0.1)


def passed(p):
    """The states of the forward pass."""
    return p.network.states(p.weights['forward'], p.batch['image'])


def gradient(p):
    """jax.grad of the loss where the net has settled."""

    def loss(forward):
        states = p.network.states(forward, p.batch['image'])
        states = relax(p.network, forward, states, weakly(GAMMA), SETTLED)
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
@pytest.mark.parametrize(
    ('nudge', 'order', 'least'),
    [('centred', 2, 1e-4), ('one_sided', 1, 2e-2), ('random_sign', 1, 2e-2)],
)
def test_it_tends_to_the_gradient_of_the_settled_net(net, nudge, order, least, x64):
    p, betas = settled(net, nudge), (0.1, 0.03, 0.01)
    expected = gradient(p)
    errors = [error(p, beta, expected) for beta in betas]
    assert order_of(errors, betas) == pytest.approx(order, abs=0.1)
    assert errors[-1] < least


def test_a_batch_draws_its_sign(x64):
    """The mean over both signs is the centred update, whose two errors of order beta cancel."""
    p, steps = settled(free_steps=20, nudged_steps=6), {'free_steps': 20, 'nudged_steps': 6}
    p = p.with_hparams(beta=0.3)
    drawn = p._replace(rule=equilibrium_propagation('random_sign', **steps))
    sides = [
        p._replace(rule=equilibrium_propagation('one_sided', **steps)).with_hparams(beta=beta)
        for beta in (0.3, -0.3)
    ]
    plus, minus = ([each['kernel'] for each in side.updates()['forward']] for side in sides)
    found = [
        [each['kernel'] for each in drawn._replace(key=jax.random.key(seed)).updates()['forward']]
        for seed in range(12)
    ]
    signs = [np.abs(kernels[0] - plus[0]).max() < 1e-12 for kernels in found]
    assert 0 < sum(signs) < 12
    for kernels, positive in zip(found, signs, strict=True):
        jax.tree.map(np.testing.assert_allclose, kernels, plus if positive else minus)
    mean = [(one + other) / 2 for one, other in zip(plus, minus, strict=True)]
    for kernel, own in zip(mean, p.updates()['forward'], strict=True):
        np.testing.assert_allclose(kernel, own['kernel'], rtol=1e-8, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('steps', [1, 2, 4])
def test_so_many_nudged_sweeps_are_so_many_back_through_time(steps, net, x64):
    """Ernoult et al. 2019; through sweeps of the other order, those between coming first."""
    p = settled(net, nudged_steps=steps).with_hparams(beta=1e-4)
    layers, top = p.network.layers, len(p.network.layers)
    order = odd_even(top)
    first = [l for l in order if (top - l) % 2]

    def loss(forward):
        h = list(p.states)
        for _ in range(steps):
            for l in (*first, *(l for l in order if l not in first)):
                a = layers[l - 1].potential(forward[l - 1], h[l - 1])
                if l < top:
                    a += GAMMA * layers[l].transpose(forward[l]['kernel'], h[l + 1])
                h[l] = layers[l - 1].activation(a) if l < top else a
        return jnp.mean(softmax_cross_entropy.value(h[-1], p.batch['label']))

    assert error(p, 1e-4, jax.grad(loss)(p.weights['forward'])) < 1e-7


def response(p):
    """-dh_l/dbeta at the free fixed point, l = 1..L, by jax."""

    def nudged(beta):
        return relax(
            p.network, p.weights['forward'], p.states, weakly(GAMMA), SETTLED,
            settle=lambda a, h: a - beta * p.loss.error(h, p.batch['label']),
        )  # fmt: skip

    return [-move for move in jax.jacfwd(nudged)(0.0)[1:]]


def of_the_way_up(p):
    """gamma^(l-L) times the mean of the response (x) what comes from below."""
    top = len(p.network.layers)
    errors = [GAMMA ** (l - top) * move for l, move in enumerate(response(p), start=1)]
    rows = zip(p.network.layers, p.weights['forward'], p.states[:-1], errors, strict=True)
    return tuple(layer.correlation(params, x, e) for layer, params, x, e in rows)


@pytest.mark.full
@pytest.mark.parametrize('net', NETS)
def test_the_vector_field_is_the_part_of_the_way_up(net, x64):
    p = settled(net, form='vector_field')
    expected = of_the_way_up(p)
    assert error(p, 1e-4, expected) < 1e-6
    lambdas = recurrent_backpropagation(free_steps=SETTLED, adjoint_steps=SETTLED)
    whole = p._replace(rule=lambdas).updates()['forward']
    np.testing.assert_allclose(expected[0]['kernel'], whole[0]['kernel'], atol=1e-8)
    np.testing.assert_allclose(expected[1]['bias'], whole[1]['bias'], atol=1e-8)


@pytest.mark.full
@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize(('nudge', 'order'), [('one_sided', 1), ('centred', 2)])
def test_changes_along_the_way_add_up_to_the_vector_field(nudge, order, net, x64):
    p, betas = settled(net, nudge, 'stdp'), (0.1, 0.03, 0.01)
    expected = of_the_way_up(p)
    errors = [error(p, beta, expected) for beta in betas]
    assert order_of(errors, betas) == pytest.approx(order, abs=0.15)
    assert errors[-1] < 0.02


@pytest.mark.parametrize('options', [{'nudge': 'both'}, {'form': 'hebb'}])
def test_another_option_is_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        equilibrium_propagation(**options)


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
    states = relax(p.network, p.weights['forward'], passed(p), weakly(gamma), 20)
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
        states = relax(p.network, forward, states, weakly(GAMMA), 1)
    assert max(np.diff(energies)) < 1e-12
    assert energies[-1] < energies[0]


def test_a_net_is_read_where_it_has_settled(x64):
    """Training's loss and evaluation's are those of the relaxed states."""
    p = settled()
    (_, aux), _ = p.value_and_updates()
    states = relax(p.network, p.weights['forward'], passed(p), weakly(GAMMA), SETTLED)
    np.testing.assert_allclose(aux['logits'], states[-1], rtol=1e-10)
    pixels = np.random.default_rng(0).integers(256, size=(7, *p.network.in_shape))
    scale = jnp.full(1, 128.0), jnp.full(1, 60.0)
    images = Images(jnp.asarray(pixels, jnp.uint8), jnp.arange(7) % 4, *scale)
    learner = Learner(p.network, p.rule, softmax_cross_entropy, {})
    sums = evaluate(learner, 3, p.weights, p.hparams, images)
    inputs, forward = images.batch(), p.weights['forward']
    start = p.network.states(forward, inputs['image'])
    h = relax(p.network, forward, start, weakly(GAMMA), SETTLED)
    expected = softmax_cross_entropy.value(h[-1], inputs['label']).sum()
    np.testing.assert_allclose(sums['loss'], expected, rtol=1e-10)
