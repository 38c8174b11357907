"""L-DRL's loss, fixed inverses, local representation alignment and feasible targets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, feedforward, numpy, problem

from bioprop import rules
from bioprop.rules import Context, inverses
from bioprop.rules.local_representation_alignment import clipped
from bioprop.testing import limit

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def trees_close(found, expected, **tolerance):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(one, other, **tolerance)


# ------------------------------------------------------------------ L-DRL


def test_its_loss_draws_the_inverse_to_the_weights_by_the_mean_squared_slope(x64):
    """Matched and sigma -> 0: E dV = 2 (V - W) diag(E s'^2), within what the draws leave."""
    p = problem(rules.l_drl(inverse='matched')).with_hparams(sigma=1e-3)

    keys = jax.random.split(jax.random.key(1), 4000)

    def feedback_gradient(key):
        def loss(feedback):
            context = Context(p.loss, p.batch, key, p.hparams)
            return p.rule.feedback_loss(
                p.network, p.weights | {'feedback': feedback}, p.states, context
            )

        return [own['kernel'] for own in jax.grad(loss)(p.weights['feedback'])[1:]]

    draws = jax.jit(jax.vmap(feedback_gradient))(keys)
    for l, each in enumerate(draws, start=2):
        gap = p.weights['feedback'][l - 1]['kernel'] - p.weights['forward'][l - 1]['kernel']
        slope = p.network.layers[l - 1].slope(p.states[l])
        expected = 2 * gap * jnp.mean(jnp.square(slope), axis=0, keepdims=True)
        mean, spread = each.mean(axis=0), each.std(axis=0) / np.sqrt(len(keys))
        assert np.abs((mean - expected) / spread).max() < 6
        assert np.abs(expected / spread).max() > 20


@pytest.mark.parametrize('inverse', ['after', 'before'])
def test_its_loss_is_the_misfit_of_the_jacobians(inverse, x64):
    """As sigma goes to 0: the sum over layers of E |J_g - J_f^T|^2 - |J_f|^2, over many draws."""
    p = problem(rules.l_drl(inverse=inverse)).with_hparams(sigma=1e-4)
    expected = 0.0
    for l in (2, 3, 4):
        layer, params = p.network.layers[l - 1], p.weights['forward'][l - 1]
        g = inverses.INVERSES[inverse]
        for x, h in zip(p.states[l - 1], p.states[l], strict=True):
            up = jax.jacrev(lambda x, f=layer.apply, w=params: f(w, x[None])[0])(x)
            down = jax.jacrev(lambda y, l=l, g=g: g.apply(p.network, p.weights, l, y[None])[0])(h)
            expected += (np.sum((down - up.T) ** 2) - np.sum(up**2)) / len(p.states[l])
    keys = jax.random.split(jax.random.key(1), 4000)

    def loss(key):
        context = Context(p.loss, p.batch, key, p.hparams)
        return p.rule.feedback_loss(p.network, p.weights, p.states, context)

    draws = np.asarray(jax.jit(jax.vmap(loss))(keys))
    assert abs(draws.mean() - expected) < 5 * draws.std() / np.sqrt(len(keys))


def test_samples_are_the_mean_over_noises_of_their_own(x64):
    p = problem(rules.l_drl(samples=3))
    three = p.updates()['feedback'][1]['kernel']
    one = p._replace(rule=rules.l_drl()).updates()['feedback'][1]['kernel']
    assert np.abs(three - one).max() > 1e-3


# ------------------------------------------------------------------ fixed inverses


def test_fw_dtp_is_dtp_from_the_logits_whose_inverses_do_not_learn(x64):
    p = problem('fw_dtp').with_hparams(alpha=0.2, feedback_scale=1)
    dtp = p._replace(
        rule=rules.dtp('logits'), weights=p.weights | {'feedback': p.weights['fixed']}
    ).with_hparams(scale=1 / 0.4)
    trees_close(p.deltas(), dtp.deltas())
    assert not jax.tree.leaves(p.updates()['feedback'])


@each_net
def test_fw_dtp_of_a_small_step_is_feedback_alignment_with_the_slope_of_its_inverse(net, x64):
    """d_{l-1} = s'(B_l h_l + c_l) * B_l d_l, and none of layer l."""
    p = problem('fw_dtp', hidden=NETS[net], net=net).with_hparams(feedback_scale=1)
    found = limit(lambda alpha: p.with_hparams(alpha=alpha).deltas(), 0.1)
    expected = [found[-1]]
    for l in range(len(p.network.layers), 1, -1):
        layer, below, own = (
            p.network.layers[l - 1],
            p.network.layers[l - 2],
            p.weights['fixed'][l - 1],
        )
        bias = jnp.broadcast_to(own['bias'], p.states[l - 1].shape)
        back = jnp.tanh(layer.transpose(own['kernel'], p.states[l]) + bias)
        expected.append(below.slope(back) * layer.transpose(own['kernel'], expected[-1]))
    trees_close(found, tuple(reversed(expected)), rtol=1e-7, atol=1e-9)


# ------------------------------------------------------------------ LRA-E


def literal(p, beta, form, activation):
    """lra_e's forward kernels from its equations, on the dense net."""
    w, e = numpy(p.weights['forward']), numpy(p.weights['feedback'])
    h = [np.asarray(p.states[0]).reshape(len(p.states[0]), -1), *numpy(p.states[1:])]
    s, slope = {
        'tanh': (np.tanh, lambda h: 1 - h**2),
        'relu': (lambda a: np.maximum(a, 0), lambda h: (h > 0).astype(float)),
    }[activation]
    errors = [np.asarray(Context(p.loss, p.batch, p.key, p.hparams).error(p.states))]
    for l in (3, 2, 1):
        a = h[l - 1] @ w[l - 1]['kernel'] + w[l - 1]['bias']
        errors.append(h[l] - s(a - beta * errors[-1] @ e[l]['kernel'].T))
    errors.reverse()
    if form == 'sloped':
        errors = [slope(h[l]) * errors[l - 1] for l in (1, 2, 3)] + [errors[-1]]
    return [x.T @ error / len(x) for x, error in zip(h[:-1], errors, strict=True)]


@pytest.mark.parametrize('activation', ['tanh', 'relu'])
@pytest.mark.parametrize('form', ['plain', 'sloped'])
def test_lra_e_is_the_one_written_out(form, activation, x64):
    p = problem(rules.lra_e(form), activation).with_hparams(beta=0.3, gamma=0.7)
    updates = p.updates()
    for found, expected in zip(updates['forward'], literal(p, 0.3, form, activation), strict=True):
        close(found['kernel'], expected)
    for feedback, forward in zip(updates['feedback'][1:], updates['forward'][1:], strict=True):
        close(feedback['kernel'], 0.7 * forward['kernel'])  # E - gamma W stays, under SGD


@each_net
def test_lra_e_of_a_small_beta_is_feedback_alignment(net, x64):
    """dW_l / beta^(L-l), and in the sloped form it is not."""
    p = problem('lra_e', hidden=NETS[net], net=net)
    kernels = (None, *(own['kernel'] for own in p.weights['feedback'][1:]))
    fa = problem('fa', hidden=NETS[net], net=net)._replace(batch=p.batch)
    fa = fa._replace(weights=p.weights | {'fixed': kernels}).with_hparams(feedback_scale=1)
    layers = len(p.network.layers)

    def scaled(beta):
        updates = p.with_hparams(beta=beta).updates()['forward']
        return [
            jax.tree.map(lambda x, l=l: x / beta ** (layers - l), update)
            for l, update in enumerate(updates, start=1)
        ]

    trees_close(limit(scaled, 0.1), list(fa.updates()['forward']), rtol=1e-6, atol=1e-8)


def test_lra_e_with_the_weights_for_feedback_is_backpropagation(x64):
    p = problem('lra_e')
    kernels = [{'kernel': params['kernel']} for params in p.weights['forward'][1:]]
    p = p._replace(weights=p.weights | {'feedback': (None, *kernels)})

    def lowest(beta):
        return p.with_hparams(beta=beta).updates()['forward'][0]['kernel'] / beta**3

    close(limit(lowest, 0.1), p.bp_updates()[0]['kernel'], rtol=1e-6, atol=1e-8)


def test_lra_e_keeps_its_digits_in_single_precision():
    """Eight layers at beta 0.1: h - s(a - move) alone would keep none at the bottom."""
    network = feedforward((6,), (6,) * 8, CLASSES)
    p = problem('lra_e', network=network, in_shape=(6,)).with_hparams(beta=0.1)
    found = p.updates()['forward'][0]['kernel']
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda x: x.astype('float64') if x.dtype == 'float32' else x, p.arguments[:2]
        )
        q = p._replace(weights=wide[0], batch=wide[1]).with_hparams(
            **dict(p.hparams) | {'beta': 0.1}
        )
        expected = q.updates()['forward'][0]['kernel']
    assert 0 < np.abs(expected).max() < 1e-7
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


# ------------------------------------------------------------------ LRA-diff, LRA-fdbk


def moved_by_hand(p, name, steps, penalty, clip):
    """The forward kernels of lra_diff and lra_fdbk from their equations, dense tanh net."""
    w = numpy(p.weights['forward'])
    e = numpy(p.weights['fixed']) if name == 'lra_fdbk' else None
    h = [np.asarray(p.states[0]).reshape(len(p.states[0]), -1), *numpy(p.states[1:])]
    label = np.eye(CLASSES)[np.asarray(p.batch['label'])]

    def up(l, x):
        a = x @ w[l - 1]['kernel'] + w[l - 1]['bias']
        return a, (a if l == 4 else np.tanh(a))

    def towards(l, h, y):
        if l == 4:
            odds = np.exp(h) / np.exp(h).sum(axis=1, keepdims=True)
            return odds - label
        d = h - y
        return 2 * d / (1 + d**2) if penalty == 'log' else d

    def slope(l, h):
        return 1 if l == 4 else 1 - h**2

    updates, y = [], None
    for l in (4, 3, 2, 1):
        taught = slope(l, h[l]) * towards(l, h[l], y)
        updates.append(h[l - 1].T @ taught / len(label))
        if l == 1:
            return updates[::-1]
        a, below = up(l - 1, h[l - 2])
        here = h[l]
        for _ in range(steps):
            taught = slope(l, here) * towards(l, here, y)
            if name == 'lra_diff':
                move = (1 - below**2) * (taught @ w[l - 1]['kernel'].T)
            else:
                move = taught @ e[l - 1]['kernel'].T
            length = np.linalg.norm(move, axis=1, keepdims=True)
            a = a - move * np.minimum(1, clip / length)
            below = np.tanh(a)
            _, here = up(l, below)
        y = below
    return None


@pytest.mark.parametrize(
    ('name', 'steps', 'penalty'),
    [('lra_diff', 1, 'squared'), ('lra_diff', 3, 'log'), ('lra_fdbk', 1, 'log')],
)
def test_lra_by_moves_is_the_one_written_out(name, steps, penalty, x64):
    for clip in (0.2, 100):
        p = problem(rules.get(name, steps=steps, penalty=penalty)).with_hparams(move_clip=clip)
        expected = moved_by_hand(p, name, steps, penalty, clip)
        for found, kernel in zip(p.updates()['forward'], expected, strict=True):
            close(found['kernel'], kernel)
        assert p.updates()['feedback'] == ()


def test_a_small_squared_move_is_backpropagation_with_another_slope(x64):
    """Of the last hidden layer: y = s(a - s' BP), so h - y is s'^2 BP's signal, to first order."""
    p = problem(rules.lra_diff(steps=1, penalty='squared')).with_hparams(move_clip=1e9)
    top = p.weights['forward'][-1]

    def scaled(x):
        forward = (*p.weights['forward'][:-1], top | {'kernel': x * top['kernel']})
        q = p._replace(weights=p.weights | {'forward': forward})
        return q, jax.tree.map(lambda u: u / x, q.updates()['forward'][2]['kernel'])

    found = limit(lambda x: scaled(x)[1], 0.01)
    flat = p.weights['forward'][:-1] + (top | {'kernel': 0 * top['kernel']},)
    h = p._replace(weights=p.weights | {'forward': flat}).states
    error = Context(p.loss, p.batch, p.key, p.hparams).error(h)
    slope = 1 - jnp.square(h[3])
    expected = h[2].T @ (slope**3 * (error @ top['kernel'].T)) / len(error)
    close(found, expected, rtol=1e-6, atol=1e-10)


def test_a_move_is_shortened_only_where_it_is_longer():
    moves = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(clipped(moves, 1.0), [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)


# ------------------------------------------------------------------ threshold units

SURROGATES = {
    'soft_hinge': lambda a: 1 - jnp.square(jnp.tanh(a)),
    'saturated': lambda a: (jnp.abs(a) <= 1).astype(a.dtype),
}


@each_net
@pytest.mark.parametrize('name', SURROGATES)
def test_weighted_feasible_targets_are_the_straight_through_estimator(name, net, x64):
    """jax.grad of the loss through a sign whose derivative is the surrogate's."""
    p = problem(rules.feasible_targets(name), 'sign', hidden=NETS[net], net=net)

    @jax.custom_vjp
    def sign(a):
        return jnp.where(a > 0, 1.0, -1.0)

    sign.defvjp(lambda a: (sign(a), a), lambda a, g: (g * SURROGATES[name](a),))

    def loss(forward):
        h = p.batch['image']
        for layer, params in zip(p.network.layers[:-1], forward, strict=False):
            h = sign(layer.potential(params, h))
        logits = p.network.layers[-1].apply(forward[-1], h)
        return jnp.mean(p.loss.value(logits, p.batch['label']))

    assert set(np.unique(p.states[1])) == {-1, 1}
    trees_close(p.updates()['forward'], jax.grad(loss)(p.weights['forward']))


def test_without_weights_a_unit_has_a_target_and_no_size_of_it(x64):
    """The update of the last hidden layer is that of the error's sign through W^T."""
    p = problem(rules.feasible_targets(weighted=False), 'sign')
    r = (
        Context(p.loss, p.batch, p.key, p.hparams).error(p.states)
        @ p.weights['forward'][3]['kernel'].T
    )
    a = p.network.layers[2].potential(p.weights['forward'][2], p.states[2])
    error = jnp.sign(r) * (1 - jnp.tanh(a) ** 2)
    close(p.updates()['forward'][2]['kernel'], p.states[2].T @ error / len(error))
