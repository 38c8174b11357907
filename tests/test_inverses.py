"""Inverses: what makes target propagation backpropagation, where targets start, and sweeps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, feedforward, full, numpy, problem

from bioprop import rules
from bioprop.errors import UserError
from bioprop.layers import ACTIVATIONS
from bioprop.rules import Context, inverses
from bioprop.rules.target_propagation import by_difference, descend
from bioprop.testing import limit

pytestmark = pytest.mark.usefixtures('quick')
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1))}
SMOOTH = ('tanh', 'linear', 'sigmoid', 'elu')
each_net = pytest.mark.parametrize('net', ['fc', full('lc'), full('conv')])


def with_forward_kernels(p):
    """The problem in which V_l = W_l, for all inverses that there are."""
    feedback = tuple(
        own and own | {'kernel': params['kernel']}
        for own, params in zip(p.weights['feedback'], p.weights['forward'], strict=True)
    )
    return p._replace(weights=p.weights | {'feedback': feedback})


def at_once(p, name='alpha', start=0.1):
    """The signals as alpha goes to 0."""
    return limit(lambda alpha: p.with_hparams(**{name: alpha}).deltas(), start)


def bp_deltas(p):
    return problem('bp', network=p.network)._replace(
        weights=p.weights, batch=p.batch, loss=p.loss
    ).deltas()  # fmt: skip


def jacobian(function, x):
    """Of one example, (outputs, inputs)."""
    found = jax.jacrev(lambda x: function(x[None])[0])(x)
    return found.reshape(-1, x.size)


# ------------------------------------------------------------------ the three


@pytest.mark.parametrize('activation', SMOOTH)
def test_the_matched_inverse_has_the_transposed_jacobian_of_its_layer(activation, x64):
    """At V = W, for every example, and the two others have not."""
    p = with_forward_kernels(problem(rules.dtp('logits', 'matched'), activation))
    misses = {}
    for name, g in inverses.INVERSES.items():
        layer, params = p.network.layers[1], p.weights['forward'][1]
        for x, h in zip(p.states[1], p.states[2], strict=True):
            up = jacobian(lambda x, f=layer.apply, w=params: f(w, x), x)
            down = jacobian(lambda y, g=g: g.apply(p.network, p.weights, 2, y), h)
            misses[name] = max(misses.get(name, 0), float(np.abs(down - up.T).max()))
    assert misses['matched'] < 1e-14
    if activation != 'linear':
        assert min(misses['after'], misses['before']) > 1e-2


@each_net
@pytest.mark.parametrize('name', ['dtp', 'l_drl'])
def test_with_the_matched_inverse_and_a_small_step_it_is_backpropagation(name, net, x64):
    rule = rules.get(name, start='logits', inverse='matched')
    p = with_forward_kernels(problem(rule, hidden=NETS[net], net=net))
    if name == 'l_drl':
        found = at_once(p)
    else:
        found = limit(lambda a: p.with_hparams(alpha=a, scale=0.5 / a).deltas(), 0.1)
    for delta, expected in zip(found, bp_deltas(p), strict=True):
        close(delta, expected, rtol=1e-7, atol=1e-9)


def test_from_the_penultimate_layer_it_is_backpropagation_too(x64):
    p = with_forward_kernels(problem(rules.l_drl('penultimate', 'matched')))
    for delta, expected in zip(at_once(p), bp_deltas(p), strict=True):
        close(delta, expected, rtol=1e-7, atol=1e-9)


def test_of_a_linear_net_it_is_backpropagation_at_any_step(x64):
    for inverse in inverses.INVERSES:
        p = with_forward_kernels(problem(rules.l_drl(inverse=inverse), 'linear'))
        for delta, expected in zip(p.with_hparams(alpha=0.7).deltas(), bp_deltas(p), strict=True):
            close(delta, expected)


def test_of_a_finite_step_the_error_is_linear_in_it(x64):
    p = with_forward_kernels(problem(rules.l_drl(inverse='matched')))
    expected = bp_deltas(p)[0]
    errors = [
        np.linalg.norm(p.with_hparams(alpha=alpha).deltas()[0] - expected) for alpha in (2e-3, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)


def test_for_relu_it_is_not_however_small_the_step(x64):
    """A silent unit whose target lies above 0 passes feedback that backpropagation blocks."""
    p = with_forward_kernels(problem(rules.l_drl(inverse='matched'), 'relu'))
    expected = bp_deltas(p)[0]
    for alpha in (1e-4, 1e-6):
        delta = p.with_hparams(alpha=alpha).deltas()[0]
        assert np.linalg.norm(delta - expected) > 0.2 * np.linalg.norm(expected)


@pytest.mark.parametrize('inverse', inverses.INVERSES)
def test_a_difference_is_that_of_two_values(inverse, x64):
    p = problem(rules.dtp('logits', inverse))
    g, h = inverses.INVERSES[inverse], p.states[3]
    values = [g.apply(p.network, p.weights, 3, y) for y in (h, 0.3 * h)]
    close(g.difference(p.network, p.weights, 3, h, 0.3 * h), values[0] - values[1])
    outer, inner = {
        'after': (np.tanh, lambda y: y),
        'before': (lambda a: a, np.tanh),
        'matched': (lambda a: a, lambda y: y - y**3 / 3),
    }[inverse]
    params = numpy(p.weights['feedback'][2])
    close(values[0], outer(inner(np.asarray(h)) @ params['kernel'].T + params['bias']))


def test_every_activation_has_the_integral_that_the_matched_inverse_reads():
    assert all(callable(each.integral) for each in ACTIVATIONS.values())


# ------------------------------------------------------------------ starts and sweeps


def test_from_the_logits_the_top_inverse_takes_the_first_step(x64):
    p = problem(rules.dtp('logits')).with_hparams(alpha=0.3)
    context = Context(p.loss, p.batch, p.key, p.hparams)
    *_, top = p.rule.displacements(p.network, p.weights, p.states, context)
    v, output, error = numpy((p.weights['feedback'][3], p.states[-1], context.error(p.states)))
    g = [np.tanh(y @ v['kernel'].T + v['bias']) for y in (output, output - 0.3 * error)]
    close(top, g[0] - g[1])


def test_where_targets_start_decides_which_inverses_there_are():
    for start, tops in (('penultimate', 3), ('logits', 4)):
        for rule in (rules.dtp(start), rules.target_propagation(start), rules.l_drl(start)):
            own = problem(rule).weights['feedback']
            assert [l for l, params in enumerate(own, 1) if params] == [*range(2, tops + 1)]


def test_no_kernel_is_transported_from_the_logits_and_the_top_one_otherwise(x64):
    for start, moved in (('logits', False), ('penultimate', True)):
        p = problem(rules.dtp(start))
        forward = list(p.weights['forward'])
        forward[-1] = forward[-1] | {'kernel': -forward[-1]['kernel']}
        context = Context(p.loss, p.batch, p.key, p.hparams)
        weights = p.weights | {'forward': tuple(forward)}
        found, expected = (
            p.rule.signals(p.network, w, p.states, context)[0] for w in (weights, p.weights)
        )
        assert bool(np.any(found != expected)) == moved


def square_net(p, scale):
    """The linear problem whose inverses are near those of its layers: V = (W + noise)^-1."""
    random = np.random.default_rng(3)
    forward, feedback = list(p.weights['forward']), list(p.weights['feedback'])
    for l in (2, 3):
        w = np.eye(5) + 0.2 * random.normal(size=(5, 5))
        v = np.linalg.inv(w + scale * random.normal(size=(5, 5))).T
        forward[l - 1] = forward[l - 1] | {'kernel': jnp.asarray(w)}
        feedback[l - 1] = feedback[l - 1] | {'kernel': jnp.asarray(v)}
    return p._replace(weights=p.weights | {'forward': tuple(forward), 'feedback': tuple(feedback)})


def linear_displacements(rule, scale):
    network = feedforward((5,), (5, 5, 5), CLASSES, 'linear')
    p = square_net(problem(rule, network=network), scale)
    context = Context(p.loss, p.batch, p.key, p.hparams)
    return p, p.rule.displacements(p.network, p.weights, p.states, context)


@pytest.mark.parametrize('start', ['penultimate', 'logits'])
@pytest.mark.parametrize('sweeps', [1, 2, 3])
def test_sweeps_are_those_written_out(start, sweeps, x64):
    """t_l <- f_l(t_{l-1}) + g_{l+1}(t_{l+1}) - g_{l+1}(f_{l+1}(t_l)), from the top down, tanh."""
    p = problem(rules.dtp(start, sweeps=sweeps)).with_hparams(alpha=0.3)
    context = Context(p.loss, p.batch, p.key, p.hparams)
    found = p.rule.displacements(p.network, p.weights, p.states, context)
    w, v = ([None, *numpy(p.weights[side])] for side in ('forward', 'feedback'))
    h = [np.asarray(p.states[0]).reshape(len(p.states[0]), -1), *numpy(p.states[1:])]
    error = np.asarray(context.error(p.states))

    def f(l, x):
        a = x @ w[l]['kernel'] + w[l]['bias']
        return a if l == 4 else np.tanh(a)

    def g(l, y):
        return np.tanh(y @ v[l]['kernel'].T + v[l]['bias'])

    top = 4 if start == 'logits' else 3
    targets = list(h)
    targets[top] = h[top] - 0.3 * (error if top == 4 else error @ w[4]['kernel'].T)
    for _ in range(sweeps):
        for l in range(top - 1, 0, -1):
            reached = f(l + 1, targets[l])
            targets[l] = f(l, targets[l - 1]) + g(l + 1, targets[l + 1]) - g(l + 1, reached)
    for l in (1, 2, 3):
        close(found[l - 1], h[l] - targets[l])


def test_with_exact_inverses_the_second_sweep_takes_the_lowest_move_back(x64):
    """f_2(t_1) = t_2 after the first, and t_1 is then what f_1 predicts."""
    for sweeps, back in ((1, False), (2, True)):
        _, found = linear_displacements(rules.dtp(sweeps=sweeps), 0.0)
        assert (np.abs(found[0]).max() < 1e-12) == back


def test_with_exact_inverses_vanilla_targets_are_the_differences(x64):
    """g(f(x)) = x: c = -b V^T, on a linear net, whose moves are those of W^-1."""
    network = feedforward((5,), (5, 5, 5), CLASSES, 'linear')
    found = {}
    for rule in (rules.dtp(), rules.target_propagation()):
        p = square_net(problem(rule, network=network), 0.0)
        feedback = list(p.weights['feedback'])
        for l in (2, 3):
            own, params = feedback[l - 1], p.weights['forward'][l - 1]
            feedback[l - 1] = own | {'bias': -params['bias'] @ own['kernel'].T}
        weights = p.weights | {'feedback': tuple(feedback)}
        context = Context(p.loss, p.batch, p.key, p.hparams)
        found[rule] = p.rule.displacements(p.network, weights, p.states, context)
    for one, other in zip(*found.values(), strict=True):
        close(one, other)


def test_without_a_step_dtp_stays_and_tp_moves_by_its_error_of_reconstruction(x64):
    dtp, tp = (problem(rule).with_hparams(alpha=0) for rule in ('dtp', 'target_propagation'))
    assert all(not np.any(delta) for delta in dtp.deltas()[:-1])
    context = Context(tp.loss, tp.batch, tp.key, tp.hparams)
    found = tp.rule.displacements(tp.network, tp.weights, tp.states, context)
    target = tp.states[3]
    for l in (3, 2):
        target = inverses.INVERSES['after'].apply(tp.network, tp.weights, l, target)
        close(found[l - 2], tp.states[l - 1] - target)
        assert np.abs(found[l - 2]).max() > 0.1
    close(found[2], 0)


def test_a_target_goes_down_from_the_layer_that_is_said():
    assert descend(3, 8.0, lambda l, moved: moved / l) == (8 / 6, 8 / 3, 8.0)


def test_an_inverse_of_ones_own_is_applied_twice_for_a_difference(x64):
    g = inverses.named(lambda network, weights, l, y: y**l)
    step = by_difference(g)(None, None, [None, None, 3.0, 2.0])
    assert step(2, 1.0) == 9 - 4
    assert step(3, 0.5) == 8 - 1.5**3


@pytest.mark.parametrize(
    ('name', 'options', 'words'),
    [
        ('dtp', {'start': 'top'}, 'start'),
        ('dtp', {'inverse': 'inner'}, 'inverse'),
        ('sdtp', {'inverse': 'inner'}, 'inverse'),
        ('dtp', {'sweeps': 0}, 'sweeps must be at least 1, not 0'),
        ('l_drl', {'samples': 0}, 'samples must be at least 1, not 0'),
        ('lra_e', {'form': 'v2'}, 'form'),
        ('lra_diff', {'penalty': 'l1'}, 'penalty'),
        ('lra_fdbk', {'steps': 0}, 'steps must be at least 1, not 0'),
        ('feasible_targets', {'loss_slope': 'hinge'}, 'loss_slope'),
    ],
)
def test_another_option_is_refused(name, options, words):
    with pytest.raises(UserError, match=words):
        rules.get(name, **options)
