"""What all rules that relax have in common: where they end, and the digits that they need."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import measure, problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.rules.relaxation import relax, weakly
from bioprop.settings.keys import paper, with_rule
from bioprop.settings.resolve import resolve

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
RELAXING = [name for name, make in rules.RULES.items() if make().phases]
FREE = [name for name in RELAXING if rules.get(name).infer]


def mild(rule, net='fc'):
    """The problem with a third of its weights: its net settles."""
    hidden = (7, 6, 5) if net == 'fc' else ((2, 3, 1), (2, 4, 1), 5)
    p = problem(rule, hidden=hidden, net=net).with_hparams(gamma=0.2, mix=0.2, beta=0.1, eta=0.2)
    small = {side: jax.tree.map(lambda w: w / 3, p.weights[side]) for side in p.weights}
    return p._replace(weights=small)


def residual(p):
    return measure(p, 'residual')


def test_they_are_known():
    assert {'equilibrium_propagation', 'contrastive_hebbian', 'predictive_coding'} <= {*RELAXING}
    assert len(FREE) == 6


@pytest.mark.parametrize('name', RELAXING)
@pytest.mark.parametrize('net', ['fc', 'lc'])
def test_with_more_sweeps_they_come_to_rest(name, net, x64):
    options = [option for option in rules.options(name) if option.endswith(('steps', 'sweeps'))]

    def found(steps):
        return residual(mild(rules.get(name, **dict.fromkeys(options, steps)), net))

    early, late = found(2), found(400)
    phases = {key.split('/')[1] for key in late}
    assert phases == ({'free', 'taught'} if name in FREE else {'taught'})
    for phase in phases:
        assert late[f'residual/{phase}'] < 1e-9
        assert late[f'residual/{phase}'] < early[f'residual/{phase}'] / 100


def test_the_residual_is_the_largest_change_of_any_unit(x64):
    p = mild(rules.equilibrium_propagation(free_steps=1, nudged_steps=1))
    found, forward = residual(p), p.weights['forward']

    def change(before, **how):
        after = relax(p.network, forward, before, weakly(0.2), 1, **how)
        rows = [np.abs(a - b).max(axis=1) for a, b in zip(after[1:], before[1:], strict=True)]
        return np.max(rows, axis=0)

    how = {'settle': lambda a, h: a - 0.1 * p.loss.error(h, p.batch['label'])}
    taught = relax(p.network, forward, p.states, weakly(0.2), 1, **how)
    for phase, each in (('free', change(p.states)), ('taught', change(taught, **how))):
        np.testing.assert_allclose(found[f'residual/{phase}'], each.mean(), rtol=1e-9)
        np.testing.assert_allclose(found[f'residual/{phase}/spread'], each.std(), rtol=1e-9)


def test_others_have_none():
    assert residual(mild('bp')) == {}
    assert residual(problem('boltzmann', hidden=(5,))) == {}  # one hidden layer is exact


@pytest.mark.parametrize('name', RELAXING)
def test_half_the_digits_are_refused(name):
    config = with_rule(paper('mnist', 'bp'), name)
    config.precision = 'bfloat16'
    with pytest.raises(UserError, match='is made for precision=float32'):
        resolve(config)


@pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])
@pytest.mark.parametrize('name', [name for name in FREE if name != 'boltzmann'])
def test_without_feedback_inference_is_the_forward_pass_to_the_bit(name, net):
    hidden = (7, 6, 5) if net == 'fc' else ((2, 3, 1), (2, 4, 1), 5)
    p = problem(name, hidden=hidden, net=net).with_hparams(gamma=0, mix=0)
    passed = jax.jit(p.network.states)(p.weights['forward'], p.batch['image'])
    jax.tree.map(np.testing.assert_array_equal, p.states, passed)


def test_feedforward_initialisation_rests_where_its_feedback_predicts(x64):
    """Of one image, for which the offsets make the feedback right: at any mix."""
    p = problem('feedforward_initialisation', size=1)
    h = p.network.states(p.weights['forward'], p.batch['image'])
    feedback = [None]
    for l in (1, 2, 3):
        own, layer = p.weights['feedback'][l], p.network.layers[l - 1]
        a = layer.potential(p.weights['forward'][l - 1], h[l - 1])
        back = p.network.layers[l].transpose(own['kernel'], h[l + 1])
        feedback.append(own | {'bias': (a - back)[0]})
    p = p._replace(weights=p.weights | {'feedback': tuple(feedback)})
    for mix in (0.3, 0.7):
        for one, other in zip(p.with_hparams(mix=mix).states, h, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-14)
    learned = p.updates()['feedback']
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(learned)) < 1e-13


@pytest.mark.parametrize('net', ['fc', 'lc'])
def test_its_feedback_descends_the_error_of_its_prediction(net, x64):
    p = mild('feedforward_initialisation', net)
    layers, h = p.network.layers, p.states

    def loss(feedback):
        total = 0.0
        for l in range(1, len(layers)):
            a = layers[l - 1].potential(p.weights['forward'][l - 1], h[l - 1])
            _, back = jax.vjp(
                lambda x, l=l: layers[l].linear(feedback[l]['kernel'], x), jnp.zeros_like(h[l])
            )
            offset = jnp.broadcast_to(feedback[l]['bias'], layers[l - 1].out_shape)
            total += jnp.sum((back(h[l + 1])[0] + offset[None] - a) ** 2) / 2
        return total / len(h[0])

    expected = jax.grad(loss)(p.weights['feedback'])
    for one, other in zip(*map(jax.tree.leaves, (p.updates()['feedback'], expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_its_weights_learn_by_the_response_to_the_nudge(x64):
    steps = {'free_steps': 80, 'nudged_steps': 80}
    p = mild(rules.feedforward_initialisation(**steps)).with_hparams(beta=1e-4, mix=0.2)
    forward, feedback = p.weights['forward'], p.weights['feedback']

    def rest(beta):
        """The net at rest, all layers moved at once."""
        h = list(p.states)
        for _ in range(80):
            new = [h[0]]
            for l, layer in enumerate(p.network.layers, start=1):
                a = layer.potential(forward[l - 1], h[l - 1])
                if l < len(p.network.layers):
                    back = p.network.layers[l].transpose(feedback[l]['kernel'], h[l + 1])
                    new.append(jnp.tanh(0.8 * a + 0.2 * (back + feedback[l]['bias'][None])))
                else:
                    new.append(a - beta * p.loss.error(h[l], p.batch['label']))
            h = new
        return h

    top = len(p.network.layers)
    moves = jax.jit(jax.jacfwd(rest))(0.0)
    for l, update in enumerate(p.updates()['forward'], start=1):
        error = -(0.2 ** (l - top)) * moves[l]
        inputs = p.states[l - 1].reshape(len(error), -1)
        np.testing.assert_allclose(
            update['kernel'], inputs.T @ error / len(error), rtol=1e-5, atol=1e-10
        )
