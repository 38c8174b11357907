"""Every rule on locally connected and convolutional nets: written out, tied, against BP, in steps.

Nets of two local layers, under a dense layer or under the logits at once.
"""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import flat, local_updates, written_out
from problems import CLASSES, PAPERS, make_rule, numpy, problem
from test_step import (
    DEVICES,
    TURNS,
    assert_moved,
    make_hparams,
    make_images,
    make_learner,
    random_state,
    train,
    turn,
)

from bioprop import rules
from bioprop.training.schedules import SCHEDULES

pytestmark = pytest.mark.usefixtures('quick')
close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-13)
IN_SHAPE, LOCAL = (5, 4, 2), ((3, 3, 2), (2, 4, 1))
NETS = {
    'lc': {'net': 'lc', 'hidden': (*LOCAL, 6)},
    'lc_to_the_top': {'net': 'lc', 'hidden': LOCAL},  # as in the net for ImageNet
    'conv': {'net': 'conv', 'hidden': (*LOCAL, 6)},
}
each_rule = pytest.mark.parametrize('name', PAPERS)
each_net = pytest.mark.parametrize('net', NETS)
TARGET_RULES = ('dtp', 'sdtp', 'ao_sdtp')


def local_problem(rule, net='lc', activation='tanh', **options):
    return problem(rule, activation, in_shape=IN_SHAPE, **NETS[net], **options)


# ------------------------------------------------------------------ written out


def assert_written_out(p, name, activation):
    deltas, loss = written_out(p, name, activation)
    (_, aux), updates = p.value_and_updates()
    close(flat(numpy(p.deltas())), deltas)
    close(updates['forward'], local_updates(p, deltas, activation))
    if name not in TARGET_RULES:
        assert loss is None
        assert 'feedback_loss' not in aux
        return
    close(aux['feedback_loss'], loss)
    inverse_loss = functools.partial(written_out, p, name, activation, np=jnp)
    gradient = jax.grad(lambda feedback: inverse_loss(feedback)[1])
    close(updates['feedback'], gradient(p.weights['feedback']))


@each_net
@each_rule
def test_rule_is_the_one_written_out(name, net, x64, strict):
    assert_written_out(local_problem(name, net), name, 'tanh')


@pytest.mark.parametrize('name', ['fa', 'dtp'])
def test_rule_with_relu_is_the_one_written_out(name, x64, strict):
    assert_written_out(local_problem(name, activation='relu'), name, 'relu')


# ------------------------------------------------------------------ shared weights


def tied(p):
    """The problem on the locally connected net whose weights are those of a convolutional net."""
    lc = local_problem(p.rule)

    def each_place(shared, own):
        """An array of the convolutional net, in the shape of the locally connected one."""
        if shared.shape == own.shape:
            return shared
        if shared.ndim == 4:  # a kernel: lax wants the channels before the taps
            shared = jnp.moveaxis(shared, 2, 0).reshape(-1, shared.shape[-1])
        return jnp.broadcast_to(shared, own.shape)

    weights = jax.tree.map(each_place, p.weights, lc.weights)
    return lc._replace(weights=weights, batch=p.batch)


def summed(own, shared):
    """The sum over places, in the shape of the array of the convolutional net."""
    if shared.shape == own.shape:
        return own
    own = own.sum((0, 1))
    if own.ndim == 2:
        height, width, channels, features = shared.shape
        own = jnp.moveaxis(own.reshape(channels, height, width, features), 0, 2)
    return own


@each_rule
def test_convolution_is_the_local_net_with_tied_weights(name, x64, strict):
    """The same states and deltas; its updates are those of the local net, summed over places."""
    conv = local_problem(name, 'conv')
    lc = tied(conv)
    close(conv.states, lc.states)
    close(conv.deltas(), lc.deltas())
    (value, aux), updates = conv.value_and_updates()
    (expected, lc_aux), lc_updates = lc.value_and_updates()
    close((value, aux), (expected, lc_aux))
    for side in ('forward', 'feedback'):
        close(updates[side], jax.tree.map(summed, lc_updates[side], updates[side]))


# ------------------------------------------------------------------ backpropagation


@each_net
def test_bp_is_the_gradient_of_the_plain_loss(net, x64, strict):
    p = local_problem('bp', net)
    close(p.updates()['forward'], p.bp_updates())


@each_net
def test_fa_with_the_forward_kernels_is_bp(net, x64, strict):
    p = local_problem('fa', net).with_hparams(feedback_scale=1)
    kernels = (None, *(params['kernel'] for params in p.weights['forward'][1:]))
    p = p._replace(weights=p.weights | {'fixed': kernels})
    close(p.updates()['forward'], p.bp_updates())


@pytest.mark.parametrize(('name', 'net'), [
    ('dtp', 'lc'), ('dtp', 'lc_to_the_top'), ('dtp', 'conv'), ('sdtp', 'lc'),
    ('ao_sdtp', 'lc_to_the_top'),
])  # fmt: skip
def test_target_rules_with_transposed_jacobians_are_bp(name, net, x64, strict):
    p = local_problem(name, net).with_hparams(alpha=1, scale=0.5)
    options = {'auxiliary_units': 3} if name == 'ao_sdtp' else {}
    rule = rules.get(name, inverse=p.transposed_jacobians(), **options)
    close(p._replace(rule=rule).updates()['forward'], p.bp_updates())


@pytest.mark.parametrize(('name', 'count'), [('bp', 3 * 4 - 1), ('dfa', 2 * 4 + 3)])
def test_a_step_takes_each_product_once(name, count):
    """Each layer's value and kernel gradient, and what carries the error: nothing goes down to x.

    BP carries it through all layers but the lowest, DFA to every hidden layer.
    """
    p = local_problem(name, size=8)
    run = jax.jit(jax.value_and_grad(p.objective, has_aux=True))
    text = run.lower(*p.arguments).compile().as_text()
    assert len(re.findall(r'\b(?:dot|convolution)\(', text)) == count


# ------------------------------------------------------------------ steps


LC_LEARNER = {'hidden': ((3, 2, 2), (2, 3, 1), 5), 'net': 'lc'}


@pytest.mark.parametrize('sides', TURNS, ids='+'.join)
def test_each_turn_moves_its_sides_of_a_local_net_and_leaves_the_other_bit_unchanged(sides):
    _, _, metrics = turn(make_learner('ao_sdtp', **LC_LEARNER), sides)
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(('name', 'schedule'), [('dfa', 'parallel'), ('dtp', 'alternating_step')])
def test_eight_devices_equal_one_on_a_local_net(name, schedule, x64):
    learner = make_learner(name, **LC_LEARNER)
    (turns,) = SCHEDULES[schedule]
    turns = tuple(tuple(side for side in sides if side in learner.optimizers) for sides in turns)
    state, images, hparams = random_state(learner), make_images(), make_hparams()
    expected, metrics = train(learner, turns)(state, images, hparams)
    spread = train(learner, turns, devices=DEVICES)(state, images, hparams)
    close(numpy(spread), numpy((expected, metrics)))
    for side in learner.optimizers:
        assert_moved(state, expected, side, turns=2)


@pytest.mark.parametrize('net', ['lc', 'lc_to_the_top'])
def test_random_feedback_and_inverses_have_the_shapes_of_the_forward_kernels(net):
    """5x4x2 -> 3x2x3 -> 3x2x4: for DFA they are dense, (units, classes)."""
    kernels = [(3, 2, 9 * 2, 3), (3, 2, 4 * 3, 4), *([(24, 6)] if net == 'lc' else [])]
    biases = [(3, 2, 3), (3, 2, 4), *([(6,)] if net == 'lc' else [])]
    widths = [18, 24, 6][: len(kernels)]

    def shapes(tree):
        return jax.tree.map(jnp.shape, tree, is_leaf=lambda leaf: hasattr(leaf, 'shape'))

    def weights(name):
        network = local_problem(make_rule(name), net).network
        return shapes(rules.init_weights(jax.random.key(0), network, make_rule(name)))

    assert weights('fa')['fixed'] == (None, *kernels[1:], (widths[-1], CLASSES))
    assert weights('dfa')['fixed'] == (*((width, CLASSES) for width in widths), None)
    inverses = [
        {'kernel': kernel, 'bias': bias}
        for kernel, bias in zip(kernels[1:], biases[:-1], strict=True)
    ]
    top = {'kernel': (widths[-1], CLASSES), 'bias': biases[-1]}
    assert weights('dtp')['feedback'] == (None, *inverses, None)
    assert weights('sdtp')['feedback'] == (None, *inverses, top)
    wider = top | {'kernel': (widths[-1], CLASSES + 3)}
    assert weights('ao_sdtp')['feedback'] == (None, *inverses, wider)
    assert weights('ao_sdtp')['fixed'] == (widths[-1], 3)
