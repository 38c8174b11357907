"""Direct and Gauss-Newton targets and feedback control: where they meet, and where they rest."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, feedforward, numpy, problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.rules import Context
from bioprop.rules.gauss_newton_targets import jacobians
from bioprop.rules.linear_algebra import pseudo_inverse, solve
from bioprop.testing import limit

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', ['fc', 'lc', 'conv'])


def context_of(p):
    return Context(p.loss, p.batch, p.key, p.hparams)


def rows(p):
    """J_l = dh_L/dh_l of each example, (batch, outputs, units), l = 1..L-1: by jax.jacrev."""
    found = []
    for l in range(1, len(p.network.layers)):

        def up(h, l=l):
            for layer, params in list(zip(p.network.layers, p.weights['forward'], strict=True))[l:]:
                h = layer.apply(params, h[None])[0]
            return h

        found.append(jax.vmap(jax.jacrev(up))(p.states[l]).reshape(len(p.states[l]), CLASSES, -1))
    return found


def with_feedback(p, kernels):
    own = tuple({'kernel': jnp.asarray(kernel)} for kernel in kernels)
    return p._replace(weights=p.weights | {'feedback': (*own, None)})


def one_example(name, **options):
    rule = rules.get(name, **options)
    return problem(rule, size=1)


# ------------------------------------------------------------------ solving


def test_small_systems_are_solved_with_pivots(x64):
    random = np.random.default_rng(0)
    matrix, right = random.normal(size=(20, 5, 5)), random.normal(size=(20, 5))
    matrix[0] = np.eye(5)[[1, 0, 4, 2, 3]]  # every first pivot is 0
    matrix[1, 0, 0] = 1e-14
    close(
        solve(jnp.asarray(matrix), jnp.asarray(right)),
        np.linalg.solve(matrix, right[..., None])[..., 0],
        rtol=1e-8,
    )
    stacked = jax.vmap(solve)(matrix.reshape(4, 5, 5, 5), right.reshape(4, 5, 5))
    close(stacked.reshape(20, 5), solve(matrix, right))


@pytest.mark.parametrize('shape', [(4, 4), (6, 3)])
def test_a_pseudo_inverse_is_numpys_alone_and_under_vmap(shape, x64):
    matrices = np.random.default_rng(0).normal(size=(3, *shape))
    expected = [np.linalg.pinv(matrix) for matrix in matrices]
    close(jax.vmap(pseudo_inverse)(matrices), expected, rtol=1e-7)
    close(pseudo_inverse(jnp.asarray(matrices[0])), expected[0], rtol=1e-7)


# ------------------------------------------------------------------ direct targets


@each_net
def test_ddtp_linear_is_direct_feedback_alignment_with_its_kernels(net, x64):
    p = problem('ddtp_linear', hidden=NETS[net], net=net)
    fixed = (*(own['kernel'] for own in p.weights['feedback'][:-1]), None)
    dfa = problem('dfa', hidden=NETS[net], net=net)
    dfa = dfa._replace(weights=p.weights | {'fixed': fixed}, batch=p.batch).with_hparams(
        feedback_scale=1
    )
    for name in ('ddtp_linear', 'ddtp_control'):
        same = p._replace(rule=rules.get(name))
        for delta, expected in zip(same.deltas(), dfa.deltas(), strict=True):
            close(delta, expected)


@each_net
def test_jacobians_are_those_of_the_layers_above(net, x64):
    p = problem('gauss_newton_targets', hidden=NETS[net], net=net)
    *found, top = jacobians(p.network, p.weights['forward'], p.states)
    for jacobian, expected in zip(found, rows(p), strict=True):
        close(jacobian.reshape(expected.shape), expected)
    close(top, jnp.broadcast_to(jnp.eye(CLASSES), top.shape))


def test_its_loss_rests_at_the_gauss_newton_inverse_of_the_mean(x64):
    """As sigma goes to 0: mean gradients over many draws, within what so many leave."""
    p = problem('ddtp_linear').with_hparams(sigma=1e-4)
    kernels = [(sum(j.mT) @ np.linalg.inv(sum(j @ j.mT))) for j in map(np.asarray, rows(p))]
    at_rest = with_feedback(p, kernels)
    keys = jax.random.split(jax.random.key(1), 2000)

    def updates(q):
        def one(key):
            def loss(feedback):
                context = context_of(q)._replace(key=key)
                return q.rule.feedback_loss(
                    q.network, q.weights | {'feedback': feedback}, q.states, context
                )

            return [own['kernel'] for own in jax.grad(loss)(q.weights['feedback'])[:-1]]

        return jax.jit(jax.vmap(one))(keys)

    for draws, others in zip(updates(at_rest), updates(p), strict=True):
        error = np.std(draws, axis=0) / np.sqrt(len(keys))
        assert np.abs(np.mean(draws, axis=0) / error).max() < 6
        assert np.abs(np.mean(others, axis=0) / error).max() > 20


def test_of_one_example_it_makes_the_least_move_that_the_logits_ask_for(x64):
    p = one_example('ddtp_linear')
    p = with_feedback(p, [np.linalg.pinv(j[0]) for j in map(np.asarray, rows(p))])
    error = context_of(p).error(p.states)
    for delta, jacobian in zip(p.deltas(), rows(p), strict=False):
        close(jacobian[0] @ delta[0], error[0], rtol=1e-7)


def test_ddtp_control_learns_to_reconstruct_states_and_not_moves(x64):
    p = problem('ddtp_control').with_hparams(sigma=0.3)
    found, hand = numpy(p.updates()['feedback']), numpy(p.weights)
    for l, own in enumerate(hand['feedback'][:-1], start=1):
        h = np.asarray(p.states[l] + 0.3 * p.noise(l, p.states[l]))
        y = h
        for k in range(l, 4):
            y = y @ hand['forward'][k]['kernel'] + hand['forward'][k]['bias']
            y = y if k == 3 else np.tanh(y)
        miss = 2 * (y @ own['kernel'].T + own['bias'] - h) / h.size
        close(found[l - 1]['kernel'], miss.T @ y)
        close(found[l - 1]['bias'], miss.sum(axis=0))


def test_ddtp_rhl_goes_through_random_units_but_from_the_last_hidden_layer(x64):
    p = problem(rules.ddtp_rhl(units=9)).with_hparams(alpha=0.2, sigma=0.3)
    hand, h, error = numpy((p.weights, p.states, context_of(p).error(p.states)))
    fixed, deltas, updates = hand['fixed'], numpy(p.deltas()), numpy(p.updates()['feedback'])
    assert fixed['kernel'].shape == (9, CLASSES)
    for l, own in enumerate(hand['feedback'][:-1], start=1):

        def z(y, l=l):
            return y if l == 3 else np.tanh(y @ fixed['kernel'].T + fixed['bias'])

        def g(y, own=own, z=z):
            return np.tanh(z(y) @ own['kernel'].T + own['bias'])

        close(deltas[l - 1], (g(h[4]) - g(h[4] - 0.2 * error)) / 0.2)
        noise = np.asarray(p.noise(l, p.states[l]))
        y = h[l] + 0.3 * noise
        for k in range(l, 4):
            y = y @ hand['forward'][k]['kernel'] + hand['forward'][k]['bias']
            y = y if k == 3 else np.tanh(y)
        miss = 2 * ((g(y) - g(h[4])) / 0.3 - noise) / 0.3 / noise.size
        inner = [miss * (1 - g(y) ** 2), -miss * (1 - g(h[4]) ** 2)]
        close(updates[l - 1]['kernel'], inner[0].T @ z(y) + inner[1].T @ z(h[4]))
        close(updates[l - 1]['bias'], (inner[0] + inner[1]).sum(axis=0))


def test_random_units_start_within_the_bounds_of_a_linear_layer():
    fixed = problem(rules.ddtp_rhl(units=500)).rule.init(
        jax.random.key(0), feedforward((12,), (7, 6), CLASSES), None
    )[1]
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(fixed)])
    assert np.abs(values).max() <= 0.5  # 1 / sqrt(outputs)
    assert values.std() == pytest.approx(0.5 / np.sqrt(3), rel=0.05)
    assert len(np.unique(values)) == 500 * (CLASSES + 1)


def test_dtp_drl_of_a_linear_net_rests_where_its_targets_are_gauss_newtons(x64):
    """V_l = pinv of what the inverses above make of the layers from l up."""
    network = feedforward((12,), (7, 6, 5), CLASSES, 'linear')
    p = problem('dtp_drl', network=network, in_shape=(12,)).with_hparams(alpha=0.3)
    forward = numpy(p.weights['forward'])
    feedback, inverse = list(p.weights['feedback']), np.eye(CLASSES)
    chain = np.eye(CLASSES)  # from h_{l-1} to the logits, row vectors
    for l in (4, 3, 2):
        chain = forward[l - 1]['kernel'] @ chain
        v = np.linalg.pinv(chain @ inverse)  # from h_l to h_{l-1}
        feedback[l - 1] = feedback[l - 1] | {'kernel': jnp.asarray(v.T)}
        inverse = inverse @ v
    p = p._replace(weights=p.weights | {'feedback': tuple(feedback)})
    error = context_of(p).error(p.states)
    close(p.deltas()[0], error @ np.linalg.pinv(chain), rtol=1e-7)
    close(inverse, np.linalg.pinv(chain), rtol=1e-7)
    draws = []
    for seed in range(400):
        updates = p._replace(key=jax.random.key(seed)).updates()['feedback'][1:]
        draws.append([own['kernel'] for own in updates])
    for each in zip(*draws, strict=True):
        mean, spread = np.mean(each, axis=0), np.std(each, axis=0) / np.sqrt(len(each))
        assert np.abs(mean / spread).max() < 6


# ------------------------------------------------------------------ Gauss-Newton


@each_net
def test_gauss_newton_targets_tend_to_backpropagation_with_the_damping(net, x64):
    p = problem('gauss_newton_targets', hidden=NETS[net], net=net)
    bp = problem('bp', network=p.network)._replace(weights=p.weights, batch=p.batch)

    def scaled(x):
        *hidden, top = p.with_hparams(damping=1 / x).deltas()
        return [*(delta / x for delta in hidden), top]

    for delta, expected in zip(limit(scaled, 0.02, terms=5), bp.deltas(), strict=True):
        close(delta, expected, rtol=1e-5, atol=1e-7)


@each_net
def test_without_damping_they_move_the_logits_by_the_error_and_no_further(net, x64):
    p = problem('gauss_newton_targets', hidden=NETS[net], net=net).with_hparams(damping=0)
    error = context_of(p).error(p.states)
    for delta, jacobian in zip(p.deltas(), rows(p), strict=False):
        moved = delta.reshape(len(delta), -1)
        close(jnp.einsum('bku,bu->bk', jacobian, moved), error, rtol=1e-6)
        close(moved, jnp.einsum('buk,bk->bu', jnp.linalg.pinv(jacobian), error), rtol=1e-6)


# ------------------------------------------------------------------ GAIT


def narrowing(activation, rule='gait_prop'):
    network = feedforward((7,), (6, 6, 5), CLASSES, activation)
    return problem(rule, network=network, in_shape=(7,))


def test_gait_goes_down_by_inverses(x64):
    p = narrowing('tanh')
    deltas = p.deltas()
    for l in (2, 3, 4):
        kernel = np.asarray(p.weights['forward'][l - 1]['kernel'])
        slope = p.network.layers[l - 1].slope(p.states[l])
        close(deltas[l - 2], (slope * deltas[l - 1]) @ np.linalg.pinv(kernel))


def test_gait_of_a_linear_square_net_has_the_targets_of_gauss_newton(x64):
    network = feedforward((4,), (4, 4, 4), CLASSES, 'linear')
    p = problem('gait_prop', network=network, in_shape=(4,))
    newton = p._replace(rule=rules.gauss_newton_targets()).with_hparams(damping=0)
    for delta, expected in zip(p.deltas(), newton.deltas(), strict=True):
        close(delta, expected, rtol=1e-6)


@pytest.mark.parametrize('gamma', [0.1, 0.01])
def test_gait_is_the_limit_of_the_authors_targets(gamma, x64):
    """t_{l-1} = f^{-1}((1 - g s'^2) h + g s'^2 t), d_l = (h - t) / g^(L-l): an error of order g."""
    network = feedforward((4,), (4, 4), CLASSES)
    p = problem('gait_prop', network=network, in_shape=(4,))
    h, forward = numpy(p.states), numpy(p.weights['forward'])
    target = h[3] - gamma * np.asarray(context_of(p).error(p.states))
    move, worst = h[3] - target, 0
    for l in (3, 2):
        slope = np.asarray(p.network.layers[l - 1].slope(p.states[l]))
        goal = h[l] - (gamma if l < 3 else 1) * slope**2 * move
        a = goal if l == 3 else np.arctanh(goal)
        target = (a - forward[l - 1]['bias']) @ np.linalg.inv(forward[l - 1]['kernel'])
        move = h[l - 1] - target
        found = move / gamma ** (4 - l)
        expected = np.asarray(p.deltas()[l - 2])
        worst = max(worst, np.linalg.norm(found - expected) / np.linalg.norm(expected))
    assert worst < 20 * gamma


def test_gait_refuses_what_it_cannot_invert():
    for hidden, net in (((5, 6), 'fc'), (((2, 3, 1), (2, 3, 1)), 'lc')):
        network = feedforward((4, 3, 1), hidden, CLASSES, 'tanh', net)
        with pytest.raises(UserError, match='must be dense'):
            rules.init_weights(jax.random.key(0), network, rules.gait_prop())


# ------------------------------------------------------------------ feedback control


def direct(p, scale=1.0):
    """The updates of direct feedback alignment with B_l = Q_l s'_l, whose slope is in dfc's Q_l."""
    kernels = [own['kernel'] for own in p.weights['feedback'][:-1]]
    error = context_of(p).error(p.states)
    deltas = [(error @ kernel.T).reshape(h.shape) for kernel, h in
              zip(kernels, p.states[1:-1], strict=True)]  # fmt: skip
    layers = zip(
        p.network.layers, p.weights['forward'], p.states[:-1], p.states[1:], (*deltas, error),
        strict=True,
    )  # fmt: skip
    return [layer.update(params, x, h, delta) for layer, params, x, h, delta in layers]


@each_net
def test_dfc_tends_to_direct_feedback_with_the_leak(net, x64):
    p = problem('dfc', hidden=NETS[net], net=net).with_hparams(target=1)

    def scaled(x):
        updates = p.with_hparams(leak=1 / x).updates()['forward']
        return jax.tree.map(lambda update: update / x, updates)

    found = limit(scaled, 0.01)
    for update, expected in zip(found, direct(p), strict=True):
        close(update['kernel'], expected['kernel'], rtol=1e-5, atol=1e-8)
        close(update['bias'], expected['bias'], rtol=1e-5, atol=1e-8)


def potential_rows(p):
    """J_l = dh_L/da_l of one example, (outputs, units)."""
    pairs = zip(rows(p), p.network.layers, p.states[1:], strict=False)
    return [np.asarray(j[0]) * np.asarray(layer.slope(h)[0]).ravel() for j, layer, h in pairs]


@pytest.mark.parametrize('twice', [False, True])
def test_dfc_with_transposed_jacobians_and_much_leak_is_backpropagation(twice, x64):
    """Those of h; with those of a, Q u is the error of a, and a step of s takes its slope again."""
    p = one_example('dfc')
    kernels = potential_rows(p) if twice else [np.asarray(j[0]) for j in rows(p)]
    p = with_feedback(p, [kernel.T for kernel in kernels]).with_hparams(target=1)

    def scaled(x):
        updates = p.with_hparams(leak=1 / x).updates()['forward']
        return jax.tree.map(lambda update: update['bias'] / x, updates, is_leaf=is_layer)

    expected = [update['bias'] for update in p.bp_updates()]
    for found, bias, layer, h in zip(
        limit(scaled, 0.01), expected, p.network.layers, p.states[1:], strict=True
    ):
        close(found, bias * layer.slope(h)[0] if twice else bias, rtol=1e-5, atol=1e-8)


def is_layer(tree):
    return isinstance(tree, dict)


def test_dfc_without_leak_makes_the_least_move_of_all_potentials(x64):
    """Q = J^T M: (J Q)^-1 takes M away, and dv is pinv(J) of what the logits must move by."""
    p = one_example('dfc')
    m = np.random.default_rng(1).normal(size=(CLASSES, CLASSES)) + 3 * np.eye(CLASSES)
    inner = potential_rows(p)
    whole = np.concatenate([*inner, np.eye(CLASSES)], axis=1)
    error = np.asarray(context_of(p).error(p.states))[0]
    expected = -0.01 * np.linalg.pinv(whole) @ error
    controls = whole.T @ m @ np.linalg.solve(whole @ whole.T @ m, -0.01 * error)
    close(controls, expected)  # for any M, the top's J^T M among them
    p = with_feedback(p, [j.T for j in inner]).with_hparams(target=0.01, leak=0)
    (update,) = (p.updates()['forward'][-1]['bias'],)
    close(update * 0.01, -expected[-CLASSES:], rtol=1e-9)


def test_dfc_of_a_small_target_moves_the_logits_by_it(x64):
    """The controlled pass ends at h_L - target e, to first order, whatever Q."""
    p = one_example('dfc').with_hparams(leak=0)
    error = context_of(p).error(p.states)

    def moved(target):
        """(h_L of the controlled pass - h_L) / target, from the updates of the biases."""
        q = p.with_hparams(target=target)
        r, h = p.states[0], p.states
        for layer, params, update in zip(
            p.network.layers, p.weights['forward'], q.updates()['forward'], strict=True
        ):
            r = layer.apply(params, r) - target * update['bias'][None]
        return (r - h[-1]) / target

    close(limit(moved, 0.01), -error, rtol=1e-6, atol=1e-8)


def test_fixed_feedback_is_the_product_of_the_kernels_above_at_the_start(x64):
    network = feedforward((12,), (7, 6), CLASSES, 'linear')
    weights = rules.init_weights(jax.random.key(0), network, rules.dfc(trained=False))
    w = numpy(weights['forward'])
    assert weights['feedback'] == ()
    close(weights['fixed'][1], w[2]['kernel'], rtol=1e-6)
    close(weights['fixed'][0], w[1]['kernel'] @ w[2]['kernel'], rtol=1e-5, atol=1e-7)


def test_dfc_learns_its_feedback_by_the_loss_of_ddtp_linear_on_potentials(x64):
    p = problem('dfc').with_hparams(sigma=0.3)
    found, hand, states = numpy(p.updates()['feedback']), numpy(p.weights), numpy(p.states)
    for l, own in enumerate(hand['feedback'][:-1], start=1):
        noise = np.asarray(p.noise(l, p.states[l]))
        x = states[l - 1].reshape(len(noise), -1)
        forward = hand['forward'][l - 1]
        y = np.tanh(x @ forward['kernel'] + forward['bias'] + 0.3 * noise)
        for k in range(l, 4):
            y = y @ hand['forward'][k]['kernel'] + hand['forward'][k]['bias']
            y = y if k == 3 else np.tanh(y)
        moved = (y - states[-1]) / 0.3
        miss = moved @ own['kernel'].T - noise
        close(found[l - 1]['kernel'], 2 * miss.T @ moved / miss.size)
