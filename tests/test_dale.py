"""Dale's law: signs that are kept whatever a rule asks for, and the same function under it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import numpy, problem

from bioprop import dale
from bioprop.errors import UserError
from bioprop.layers import convolution, dense, locally_connected
from bioprop.running.run import make_learner
from bioprop.settings.keys import paper
from bioprop.settings.resolve import resolve

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 3, 1), 5)}
each_net = pytest.mark.parametrize('net', NETS)


def of(net, rule='bp'):
    return problem(rule, 'relu', hidden=NETS[net], net=net)


def test_so_many_inputs_are_excitatory_spread_evenly():
    signs = np.asarray(dale.signs_of(dense(3)((10,)), 0.8)).ravel()
    assert signs.tolist() == [1, 1, -1, 1, 1] * 2
    assert dale.signs_of(dense(3)((7,)), 1.0).ravel().tolist() == [1] * 7


@pytest.mark.parametrize('share', [0.5, 0.8, 1.0])
def test_the_one_channel_of_grey_images_is_excitatory(share):
    """Units of a layer that is inhibited alone would never be active."""
    assert np.all(dale.signs_of(locally_connected(3, 2, 1)((8, 8, 1)), share) == 1)


@pytest.mark.parametrize('describe', [locally_connected(3, 2, 1), convolution(3, 2, 1)])
def test_a_local_layer_has_a_sign_for_every_channel(describe):
    """Inputs of one channel alone meet kernel entries of its sign alone."""
    layer = describe((4, 4, 5))
    signs = jnp.broadcast_to(dale.signs_of(layer, 0.6), layer.kernel_shape)
    for channel, sign in enumerate([1, -1, 1, -1, 1]):
        x = jnp.zeros((1, 4, 4, 5)).at[..., channel].set(1.0)
        met = jax.vjp(lambda kernel, x=x: layer.linear(kernel, x), jnp.zeros(layer.kernel_shape))
        (entries,) = met[1](jnp.ones((1, *layer.out_shape)))
        assert set(np.asarray(signs)[np.asarray(entries) > 0]) == {sign}


@each_net
@pytest.mark.parametrize('rule', ['kolen_pollack', 'fa', 'dfa'])
def test_no_step_makes_a_weight_cross_zero(rule, net):
    p = of(net, rule)
    law = dale.constraint(p.network, 0.8)
    weights = law.start(p.weights)
    signs = [np.broadcast_to(s, shape) for s, shape in zip(law.signs, law.shapes, strict=True)]
    optimizer = optax.chain(optax.sgd(3.0), law.transformation())
    state, updates = optimizer.init(weights['forward']), numpy(p.updates()['forward'])
    crossed = 0
    for _ in range(3):
        steps, state = optimizer.update(updates, state, weights['forward'])
        moved = optax.apply_updates(weights['forward'], steps)
        for l, sign in enumerate(signs):
            before, after = weights['forward'][l]['kernel'], moved[l]['kernel']
            assert np.all(after * sign >= 0)
            free = (before - 3 * updates[l]['kernel']) * sign > 0
            np.testing.assert_allclose(
                after[free], (before - 3 * updates[l]['kernel'])[free], rtol=1e-5, atol=1e-6
            )
            assert not np.any(np.asarray(after)[~free])
            crossed += np.sum(~free)
        weights = weights | {'forward': moved}
    assert crossed
    again, _ = law.transformation().update(
        jax.tree.map(jnp.zeros_like, moved), optax.EmptyState(), moved
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(again))


def test_feedback_in_the_shape_of_the_weights_has_their_signs_and_other_feedback_is_free():
    for rule, side in (('kolen_pollack', 'feedback'), ('fa', 'fixed')):
        p = of('fc', rule)
        law = dale.constraint(p.network, 0.8)
        for l, own in enumerate(law.start(p.weights)[side][1:], start=1):
            kernel = own['kernel'] if side == 'feedback' else own
            assert np.all(np.asarray(kernel) * np.asarray(law.signs[l]) >= 0)
    p = of('fc', 'dfa')
    law = dale.constraint(p.network, 0.8)
    jax.tree.map(np.testing.assert_array_equal, law.start(p.weights)['fixed'], p.weights['fixed'])


def test_the_start_is_balanced_and_as_large_as_without_the_law(x64):
    layer = dense(400)((1000,))
    network = of('fc').network._replace(layers=(layer,))
    kernel = layer.init_kernel(jax.random.key(0))
    law = dale.constraint(network, 0.8)
    made = law.start({'forward': ({'kernel': kernel},)})['forward'][0]['kernel']
    assert float(jnp.mean(made**2) / jnp.mean(kernel**2)) == pytest.approx(1, rel=0.02)
    assert abs(float(jnp.mean(made) / jnp.mean(jnp.abs(made)))) < 0.01


@pytest.mark.parametrize('units', [4, 7, 256])
def test_the_start_is_balanced_where_the_share_does_not_divide_the_units(units, x64):
    """Equal weights cancel in every unit, and have their size still: 6 units of 1/6 against 1."""
    network = of('fc').network._replace(layers=(dense(3)((units,)),))
    law = dale.constraint(network, 0.8)
    made = law.start({'forward': ({'kernel': jnp.ones((units, 3))},)})['forward'][0]['kernel']
    np.testing.assert_allclose(made.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose((made**2).mean(axis=0), 1)


# ------------------------------------------------------------------ the same function under it


@each_net
def test_a_view_is_the_same_function_and_keeps_the_law(net, x64):
    p = of(net)
    x = jnp.abs(p.batch['image'])
    made = dale.view(p.network, p.weights['forward'])
    expected = p.network.states(p.weights['forward'], x)
    for one, other in zip(made.states(x), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    for part in made.parts:
        assert np.all(part.excitatory >= 0)
        assert np.all(part.inhibitory >= 0)
        assert np.any(part.inhibitory > 0)


def test_of_a_dense_layer_one_unit_inhibits_and_no_more_than_it_must(x64):
    p = of('fc')
    part, kernel = (
        dale.view(p.network, p.weights['forward']).parts[0],
        p.weights['forward'][0]['kernel'],
    )
    np.testing.assert_allclose(part.inhibitory, np.maximum(0, -np.asarray(kernel).min(axis=0)))
    assert part.inhibitory.shape == (7,)


# ------------------------------------------------------------------ through the settings


def config(**settings):
    return paper('mnist_mini', 'bp', **{'signs': 0.8, 'activation': 'relu'} | settings)


def test_units_and_inputs_that_may_be_negative_are_refused_in_one_message():
    with pytest.raises(UserError, match=r'signs.*activation=relu.*tanh'):
        resolve(config(activation='tanh'))
    with pytest.raises(UserError, match='signs'):
        resolve(config(signs=1.5))
    colour = resolve(config(dataset='cifar10'))
    with pytest.raises(UserError, match='inputs=unit'):
        make_learner(colour, Colour())


class Colour:
    """As much of a data set as a learner looks at."""

    class train:
        in_shape = (32, 32, 3)

    classes = 10
