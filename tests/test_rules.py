"""Rules: the identities that tie them to the chain rule, to each other and to the paper."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import FUNCTIONS, chain_rule, local_updates, output_error, written_out
from problems import (
    BATCH,
    CLASSES,
    HIDDEN,
    HPARAMS,
    IN_SHAPE,
    LAYERS,
    PAPERS,
    feedforward,
    make_rule,
    numpy,
    problem,
)

from bioprop import networks, rules
from bioprop.errors import UserError
from bioprop.losses import LOSSES
from bioprop.rules import Context, ao_sdtp, dtp, init_weights, sdtp
from bioprop.rules.inverses import INVERSES
from bioprop.training import optim
from bioprop.training.learner import Learner, init_state
from bioprop.training.schedules import BOTH
from bioprop.training.step import train_step

pytestmark = pytest.mark.usefixtures('quick')
TARGET_RULES = ('dtp', 'sdtp', 'ao_sdtp')
each_rule = pytest.mark.parametrize('name', PAPERS)
each_target_rule = pytest.mark.parametrize('name', TARGET_RULES)
each_activation = pytest.mark.parametrize('activation', sorted(FUNCTIONS))
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)


# ------------------------------------------------------------------ gradient rules


@each_activation
@pytest.mark.parametrize('loss', sorted(LOSSES))
def test_bp_is_the_gradient_of_the_plain_loss(activation, loss, x64, strict):
    p = problem('bp', activation, loss=LOSSES[loss])
    close(p.updates()['forward'], p.bp_updates())


def test_bp_in_float32_is_the_gradient_of_the_plain_loss(strict):
    p = problem('bp')
    chex.assert_trees_all_close(p.updates()['forward'], p.bp_updates(), rtol=1e-5, atol=1e-7)


@each_activation
def test_fa_with_the_forward_kernels_is_bp(activation, x64):
    p = problem('fa', activation).with_hparams(feedback_scale=1)
    kernels = (None, *(params['kernel'] for params in p.weights['forward'][1:]))
    p = p._replace(weights=p.weights | {'fixed': kernels})
    close(p.updates()['forward'], p.bp_updates())


@each_activation
def test_fa_is_the_chain_rule_with_b(activation, x64):
    p = problem('fa', activation)
    deltas = chain_rule(p, activation, numpy(p.weights['fixed']), HPARAMS['feedback_scale'])
    close(p.updates()['forward'], local_updates(p, deltas, activation))


@each_activation
def test_dfa_is_its_closed_form(activation, x64):
    p = problem('dfa', activation)
    e, b = output_error(p, activation), numpy(p.weights['fixed'])
    deltas = (*(HPARAMS['feedback_scale'] * e @ b[l - 1].T for l in (1, 2, 3)), e)
    close(p.updates()['forward'], local_updates(p, deltas, activation))


def test_feedback_scale_multiplies_fa_once_a_layer_and_dfa_once(x64):
    for name, powers in (('fa', (3, 2, 1, 0)), ('dfa', (1, 1, 1, 0))):
        p = problem(name)
        unit = p.with_hparams(feedback_scale=1).deltas()
        scaled = p.with_hparams(feedback_scale=3).deltas()
        close(scaled, tuple(3**power * d for power, d in zip(powers, unit, strict=True)))


def test_random_feedback_is_glorot_uniform_and_not_the_forward_kernel():
    network = feedforward((40,), (50, 60), 30)
    key = jax.random.key(0)
    fa, dfa = (rules.init_weights(key, network, make_rule(name)) for name in ('fa', 'dfa'))
    assert fa['feedback'] == dfa['feedback'] == ()
    assert fa['fixed'][0] is None
    assert dfa['fixed'][2] is None
    shapes = (*((fa, l, shape) for l, shape in ((1, (50, 60)), (2, (60, 30)))),
              *((dfa, l, shape) for l, shape in ((0, (50, 30)), (1, (60, 30)))))  # fmt: skip
    for weights, l, shape in shapes:
        b, limit = np.asarray(weights['fixed'][l]), np.sqrt(6 / sum(shape))
        assert b.shape == shape
        assert 0.99 * limit < abs(b).max() <= limit
        np.testing.assert_allclose(b.std(), limit / np.sqrt(3), rtol=0.05)
    for l in (1, 2):
        assert not np.any(fa['fixed'][l] == fa['forward'][l]['kernel'])


# ------------------------------------------------------------------ every rule


@each_activation
@each_rule
def test_forward_update_is_the_vjp_of_its_layer_alone_at_delta(name, activation, x64, strict):
    p = problem(name, activation)
    close(p.updates()['forward'], local_updates(p, numpy(p.deltas()), activation))


@each_rule
def test_every_rule_starts_from_the_same_forward_weights(name):
    network, key = feedforward(IN_SHAPE, HIDDEN, CLASSES), jax.random.key(3)
    weights = rules.init_weights(key, network, make_rule(name))
    expected = rules.init_weights(key, network, make_rule('bp'))['forward']
    chex.assert_trees_all_equal(weights['forward'], expected)


@each_rule
def test_hparams_of_equal_value_in_every_layer_equal_the_scalar(name, x64):
    p = problem(name)
    close(vectors(p).value_and_updates(), p.value_and_updates())


def changed(p, old, new):
    """The layers l = 1..L where two tuples of trees differ."""
    pairs = zip(numpy(old), numpy(new), strict=True)
    leaves = [zip(*map(jax.tree.leaves, pair), strict=True) for pair in pairs]
    return {l for l, both in enumerate(leaves, 1) if any((a != b).any() for a, b in both)}


def vectors(p):
    """The problem with every hyperparameter given layer by layer."""
    return p.with_hparams(**{name: [value] * LAYERS for name, value in HPARAMS.items()})


def one_differs(p, name, l):
    """The problem with hyperparameter `name` doubled at layer l alone."""
    values = HPARAMS[name] * (1 + np.eye(LAYERS)[l - 1])
    return vectors(p).with_hparams(**{name: values})


@pytest.mark.parametrize('l', [1, 2, 3])
@each_target_rule
def test_scale_of_layer_l_scales_delta_l_alone(name, l, x64):
    p = problem(name)
    expected = list(p.deltas())
    expected[l - 1] = 2 * expected[l - 1]
    close(one_differs(p, 'scale', l).deltas(), tuple(expected))


@pytest.mark.parametrize('l', [2, 3, 4])
@each_target_rule
def test_inverse_scale_of_layer_l_scales_the_update_of_v_l_alone(name, l, x64):
    p = problem(name)
    expected = list(p.updates()['feedback'])
    expected[l - 1] = jax.tree.map(lambda u: 2 * u, expected[l - 1])
    close(one_differs(p, 'inverse_scale', l).updates()['feedback'], tuple(expected))


@pytest.mark.parametrize('l', [2, 3, 4])
@each_target_rule
def test_sigma_of_layer_l_acts_on_v_l_alone(name, l, x64):
    p = problem(name)
    expected, updates = p.updates(), one_differs(p, 'sigma', l).updates()
    trained = {2, 3} if name == 'dtp' else {2, 3, 4}
    assert changed(p, expected['feedback'], updates['feedback']) == {l} & trained
    chex.assert_trees_all_equal(expected['forward'], updates['forward'])


@pytest.mark.parametrize('l', [2, 3, 4])
def test_feedback_scale_of_layer_l_scales_b_l_alone(l, x64):
    for name, scaled in (('fa', set(range(1, l))), ('dfa', {l} & {1, 2, 3})):
        p = problem(name)
        expected = tuple(d * (2 if k in scaled else 1) for k, d in enumerate(p.deltas(), 1))
        close(one_differs(p, 'feedback_scale', l).deltas(), expected)


def test_alpha_is_the_one_of_the_output_layer(x64):
    p = problem('dtp')
    old = p.deltas()
    close(tuple(one_differs(p, 'alpha', 2).deltas()), old)
    close(one_differs(p, 'alpha', LAYERS).deltas()[-2:], (2 * old[-2], old[-1]))


def test_noise_is_standard_normal_and_of_its_own_for_each_layer_and_place():
    p = problem('dtp')
    h = np.zeros((BATCH, 500), np.float32)
    noise = np.stack([p.noise(l, h) for l in (2, 3)]).reshape(2 * BATCH, 500)
    correlation = noise @ noise.T / 500
    np.testing.assert_allclose(correlation, np.eye(2 * BATCH), atol=0.25)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.05)
    np.testing.assert_allclose((noise**4).mean(), 3, rtol=0.1)


def test_noise_follows_the_global_index_of_the_example():
    p = problem('dtp')
    h, order = jnp.zeros((BATCH, 5)), jnp.array([4, 1, 5])
    share = p._replace(batch=p.batch | {'index': order})
    chex.assert_trees_all_equal(share.noise(2, h[:3]), p.noise(2, h)[order])


# ------------------------------------------------------------------ target rules


@each_activation
@each_target_rule
def test_targets_and_inverse_loss_are_those_of_the_paper(name, activation, x64, strict):
    p = problem(name, activation)
    deltas, loss = written_out(p, name, activation)
    close(p.deltas(), deltas)
    (_, aux), updates = p.value_and_updates()
    close(aux['feedback_loss'], loss)
    close(updates['forward'], local_updates(p, deltas, activation))


@pytest.mark.parametrize(
    ('name', 'activation'),
    [('dtp', 'tanh'), ('dtp', 'relu'), ('sdtp', 'relu'), ('ao_sdtp', 'tanh')],
)
def test_feedback_update_is_the_gradient_of_the_written_inverse_loss(name, activation, x64):
    p = problem(name, activation)
    gradient = jax.grad(lambda feedback: written_out(p, name, activation, feedback, jnp)[1])
    close(p.updates()['feedback'], gradient(p.weights['feedback']))


@each_target_rule
def test_inverse_loss_gives_no_gradient_to_the_forward_weights(name, x64):
    p = problem(name)
    louder = p.with_hparams(inverse_scale=100, sigma=3).updates()
    chex.assert_trees_all_equal(louder['forward'], p.updates()['forward'])
    assert changed(p, louder['feedback'], p.updates()['feedback'])


def test_each_rule_trains_the_inverses_that_it_uses():
    network, aux = feedforward(IN_SHAPE, HIDDEN, CLASSES), 3
    v = {2: (7, 6), 3: (6, 5), 4: (5, 4)}
    expected = {'dtp': {2: v[2], 3: v[3]}, 'sdtp': v, 'ao_sdtp': v | {4: (5, CLASSES + aux)}}
    for name, shapes in expected.items():
        p = problem(name, network=network)
        for tree in (p.weights['feedback'], jax.eval_shape(p.updates)['feedback']):
            found = {l: params['kernel'].shape for l, params in enumerate(tree, 1) if params}
            assert found == shapes
            biases = {l: params['bias'].shape for l, params in enumerate(tree, 1) if params}
            assert biases == {l: shape[:1] for l, shape in shapes.items()}


@each_activation
@pytest.mark.parametrize('loss', sorted(LOSSES))
def test_dtp_with_transposed_jacobians_is_bp(activation, loss, x64):
    p = problem('dtp', activation, loss=LOSSES[loss]).with_hparams(alpha=1, scale=0.5)
    p = p._replace(rule=dtp(inverse=p.transposed_jacobians()))
    close(p.updates()['forward'], p.bp_updates())


@each_activation
@pytest.mark.parametrize('units', [0, 3])
def test_sdtp_and_ao_sdtp_with_transposed_jacobians_are_bp(activation, units, x64):
    """For softmax o - label is dL/dlogits, so the top inverse is the logits' transpose."""
    p = problem(ao_sdtp(units), activation).with_hparams(scale=0.5)
    p = p._replace(rule=ao_sdtp(units, inverse=p.transposed_jacobians()))
    close(p.updates()['forward'], p.bp_updates())


def test_sdtp_of_reconstruction_is_bp_with_the_jacobian_of_its_output(x64):
    """dL/dlogits = 2 (o - label) o (1 - o): the slope belongs to g_L, the 2 to the scale."""
    p = problem('sdtp', loss=LOSSES['reconstruction']).with_hparams(scale=1)
    p = p._replace(rule=sdtp(inverse=p.transposed_jacobians(top=lambda o: o * (1 - o))))
    close(p.updates()['forward'], p.bp_updates())


def test_exact_inverses_of_a_linear_net_carry_displacements_by_w_inverse(x64):
    network = feedforward((5,), (5, 5, 5), CLASSES, 'linear')
    p = problem('dtp', network=network)
    kernels = [params['kernel'] + jnp.eye(*params['kernel'].shape) for params in
               p.weights['forward']]  # fmt: skip
    forward = tuple(
        {'kernel': kernel, 'bias': params['bias']}
        for kernel, params in zip(kernels, p.weights['forward'], strict=True)
    )

    def inverse(network, weights, l, y):
        params = weights['forward'][l - 1]
        return jnp.linalg.solve(params['kernel'].T, (y - params['bias'][None]).T).T

    p = p._replace(rule=dtp(inverse=inverse), weights=p.weights | {'forward': forward})
    deltas = p.deltas()
    for l in (2, 3):
        close(deltas[l - 2] @ kernels[l - 1], deltas[l - 1])
    (_, aux), _ = p.value_and_updates()
    np.testing.assert_allclose(aux['feedback_loss'], 0, atol=1e-20)  # DTP keeps the noise


def test_an_inverse_is_given_the_net_whose_top_has_the_auxiliary_units(x64):
    widths = set()

    def inverse(network, weights, l, y):
        widths.add(network.out_shape)
        return INVERSES['after'].apply(network, weights, l, y)

    p = problem(ao_sdtp(3, inverse=inverse))
    close(p.updates(), p._replace(rule=ao_sdtp(3)).updates())
    assert widths == {(CLASSES + 3,)}


def test_without_auxiliary_units_there_is_no_projection():
    network = feedforward(IN_SHAPE, HIDDEN, CLASSES)
    assert init_weights(jax.random.key(0), network, sdtp())['fixed'] == ()


def test_z_is_the_same_in_target_and_state():
    calls = []

    def spy(network, weights, l, y):
        calls.append((l, y))
        return INVERSES['after'].apply(network, weights, l, y)

    p = problem(ao_sdtp(3, inverse=spy))
    with jax.disable_jit():
        p.deltas()
    tops = [y for l, y in calls if l == LAYERS]
    h, projection = numpy(p.states)[-2], numpy(p.weights['fixed'])
    assert len(tops) == 2
    for y in tops:
        np.testing.assert_allclose(y[:, CLASSES:], np.tanh(h @ projection), rtol=1e-5)
    chex.assert_trees_all_equal(tops[0][:, CLASSES:], tops[1][:, CLASSES:])


def trajectory(rule, steps=3):
    """Initial state, first updates and the states of a few parallel steps."""

    def sgd(hparams):
        return optim.optimizer('sgd', 0.1, momentum=0.9)

    p = problem(rule)
    learner = Learner(p.network, rule, p.loss, {'forward': sgd, 'feedback': sgd})
    states = [jax.jit(functools.partial(init_state, learner))(p.key, p.hparams)]
    one_step = jax.jit(functools.partial(train_step, learner, (BOTH,)))
    for _ in range(steps):
        states.append(one_step(states[-1], p.batch, p.hparams)[0])
    return numpy((p.updates(), states))


def test_ao_sdtp_without_auxiliary_units_is_bit_equal_to_sdtp():
    chex.assert_trees_all_equal(trajectory(ao_sdtp(auxiliary_units=0)), trajectory(sdtp()))


@pytest.mark.parametrize('units', [0, 3])
def test_keys_of_the_inverses_do_not_depend_on_the_auxiliary_units(units):
    network, key = feedforward(IN_SHAPE, HIDDEN, CLASSES), jax.random.key(5)
    feedback = rules.init_weights(key, network, ao_sdtp(units))['feedback']
    key_rule = jax.random.fold_in(key, 1)  # 0 is the forward weights'
    key_inverses = jax.random.fold_in(key_rule, 0)  # 1 is the projection's
    for l, shape in ((2, (7, 6)), (3, (6, 5)), (4, (5, CLASSES + units))):
        limit = math.sqrt(6 / sum(shape))  # no NumPy scalar: another program, which rounds apart
        key_l = jax.random.fold_in(key_inverses, l)
        expected = jax.random.uniform(key_l, shape, minval=-limit, maxval=limit)
        chex.assert_trees_all_close(feedback[l - 1]['kernel'], expected, rtol=1e-6)
        chex.assert_trees_all_equal(feedback[l - 1]['bias'], jnp.zeros(shape[0]))


@pytest.mark.parametrize('name', ['dtp', 'sdtp', 'ao_sdtp'])
def test_target_rules_refuse_a_network_without_hidden_layers(name):
    network = networks.feedforward((4,), (), 3)
    with pytest.raises(UserError, match='hidden layer'):
        init_weights(jax.random.key(0), network, rules.get(name))


@pytest.mark.parametrize('name', TARGET_RULES)
def test_one_hidden_layer_is_enough_for_target_rules(name):
    rule, network = make_rule(name), feedforward(IN_SHAPE, (5,), CLASSES)
    feedback = init_weights(jax.random.key(0), network, rule)['feedback']
    assert [each is not None for each in feedback] == [False, name != 'dtp']
    found = problem(name, hidden=(5,)).updates()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_the_paper_has_256_auxiliary_units():
    network = feedforward(IN_SHAPE, HIDDEN, CLASSES)
    weights = init_weights(jax.random.key(0), network, rules.get('ao_sdtp'))
    assert weights['fixed'].shape == (HIDDEN[-1], 256)


@pytest.mark.parametrize('net', ['lc', 'conv'])
@each_target_rule
def test_feedback_kernels_are_shaped_like_the_weights_on_every_net(name, net):
    p = problem(name, hidden=((2, 3, 1), (2, 4, 1), 5), net=net)
    kernels = p.rule.feedback_kernels(p.network, p.weights)
    assert len(kernels) == len(p.network.layers)
    found = {kernel.shape == layer.kernel_shape for kernel, layer in zip(
        kernels[1:], p.network.layers[1:], strict=True) if kernel is not None}  # fmt: skip
    assert found == {True}


def test_evaluation_reads_forward_weights_alone_unless_the_rule_infers():
    """A population then keeps no copy of feedback weights that nobody reads."""
    weights = {'forward': 1, 'feedback': 2, 'fixed': 3}
    assert rules.base.inferring(rules.get('dtp'), weights) == {'forward': 1}
    assert rules.base.inferring(rules.get('equilibrium_propagation'), weights) == weights


def test_a_hyperparameter_is_a_number_for_all_layers_or_one_for_each():
    hparams = {'plain': 0.5, 'traced': jnp.asarray(0.25), 'each': jnp.asarray([1.0, 2.0, 3.0])}
    context = Context(None, {}, jax.random.key(0), hparams)
    found = {name: [float(context.hparam(name, l)) for l in (1, 2, 3)] for name in hparams}
    assert found == {'plain': [0.5] * 3, 'traced': [0.25] * 3, 'each': [1, 2, 3]}


@pytest.mark.parametrize('name', ['fa', *TARGET_RULES])
def test_feedback_is_drawn_from_a_key_of_its_own(name):
    """Of kernels that have one shape, feedback is none of those that the layers start with."""
    network, rule = feedforward((5,), (5, 5), 5), make_rule(name)
    weights = init_weights(jax.random.key(0), network, rule)
    kernels = [leaf for leaf in jax.tree.leaves(weights) if leaf.shape == (5, 5)]
    assert len(kernels) > len(network.layers)
    assert len({np.asarray(kernel).tobytes() for kernel in kernels}) == len(kernels)
