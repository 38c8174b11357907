"""Local layers: they are lax's in value and gradients, with a transpose, and a convolution if tied.

The number of rows in one block of the locally connected layer is drawn too: it must not matter.
"""

import functools
import math
import re
import sys
from typing import Any, NamedTuple
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from bioprop.layers import convolution, dense, locally_connected, window
from bioprop.layers.base import Layer

quick = pytest.mark.usefixtures('quick')
module = sys.modules['bioprop.layers.locally_connected']  # a function has the same name
KINDS = {'local': locally_connected, 'conv': convolution}
each_kind = pytest.mark.parametrize('make', KINDS.values(), ids=KINDS)
ORDERS = {1: 'HC', 2: 'HWC', 3: 'HWDC'}


def close(found, expected, rtol=1e-10):
    chex.assert_trees_all_close(found, expected, rtol=rtol, atol=1e-11)


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def arrays(layer, batch, seed=0):
    """(kernel, x, a) for a layer, and with x and a as its input and its output."""
    shapes = layer.kernel_shape, (batch, *layer.in_shape), (batch, *layer.out_shape)
    return tuple(random(seed + 100 * i, *shape) for i, shape in enumerate(shapes))


class Case(NamedTuple):
    """A window on an input, and how many rows of places make up a block."""

    spatial: tuple[int, ...]
    size: Any
    strides: Any = 1
    padding: Any = 'SAME'
    channels: int = 2
    features: int = 3
    batch: int = 2
    rows: int = 1000

    def layer(self, make, activation='tanh'):
        describe = make(self.features, self.size, self.strides, self.padding, activation)
        return describe((*self.spatial, self.channels))

    @property
    def each_axis(self):
        """(size, strides), one number for each axis; padding as lax takes it."""
        axes = len(self.spatial)
        size, strides = (
            (value,) * axes if isinstance(value, int) else tuple(value)
            for value in (self.size, self.strides)
        )
        padding = self.padding
        if isinstance(padding, int):
            padding = [(padding, padding)] * axes
        elif not isinstance(padding, str):
            padding = [(pad, pad) if isinstance(pad, int) else pad for pad in padding]
        return size, strides, padding

    def lax(self, kernel, x):
        """What lax makes of it."""
        size, strides, padding = self.each_axis
        order = ORDERS[len(self.spatial)]
        numbers = ('N' + order, order[:-1] + 'IO', 'N' + order)
        return lax.conv_general_dilated_local(
            x, kernel, strides, padding, size, dimension_numbers=numbers
        )

    def blocks(self, itemsize=8):
        """Lets blocks of `rows` rows of places fit, and no larger ones."""
        _, *others, _ = self.layer(locally_connected).out_shape
        taps = math.prod(self.each_axis[0]) * self.channels
        row = math.prod(others) * taps * self.batch * itemsize
        return mock.patch.dict(module.BLOCK_BYTES, cpu=self.rows * row)


@st.composite
def cases(draw):
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    widest, largest = {1: (9, 20), 2: (9, 11), 3: (4, 5)}[axes]

    def each(strategy):
        return draw(st.tuples(*[strategy] * axes))

    size, strides = each(st.integers(1, widest)), each(st.integers(1, 4))
    padding = draw(
        st.sampled_from(['SAME', 'VALID'])
        | st.integers(0, 4)
        | st.tuples(*[st.integers(0, 3) | st.tuples(st.integers(0, 4), st.integers(0, 4))] * axes)
    )
    case = Case((1,) * axes, size, strides, padding)
    if padding == 'SAME':
        least = [1] * axes
    else:
        pads = [(0, 0)] * axes if padding == 'VALID' else case.each_axis[2]
        least = [max(1, k - sum(pad)) for k, pad in zip(size, pads, strict=True)]
    case = case._replace(
        spatial=tuple(draw(st.integers(n, max(n, largest))) for n in least),
        channels=draw(st.integers(1, 3)),
        features=draw(st.integers(1, 4)),
        batch=draw(st.integers(1, 3)),
    )
    return case._replace(rows=draw(st.integers(1, case.layer(locally_connected).out_shape[0])))


def tied(case, kernel):
    """The local kernel that has the convolution's at every place: lax puts the channels first."""
    out_shape = case.layer(locally_connected).out_shape[:-1]
    patch = jnp.moveaxis(kernel, -2, 0).reshape(-1, kernel.shape[-1])
    return jnp.broadcast_to(patch, (*out_shape, *patch.shape))


def untied(case, kernel):
    """Its transpose: the sum over places, laid out as the convolution's kernel."""
    *places, _, features = kernel.shape
    patch = kernel.sum(tuple(range(len(places))))
    patch = patch.reshape(case.channels, *case.each_axis[0], features)
    return jnp.moveaxis(patch, 0, -2)


# ------------------------------------------------------------------ the operators


@quick
@given(case=cases(), seed=st.integers(0, 99))
def test_local_is_laxs_in_value_and_gradients_and_its_transpose_is_the_adjoint(
    x64, strict, case, seed
):
    layer = case.layer(locally_connected)
    kernel, x, a = arrays(layer, case.batch, seed)

    def both(kernel, x, a):
        expected, their_pullback = jax.vjp(case.lax, kernel, x)
        found, our_pullback = jax.vjp(layer.linear, kernel, x)
        return (found, our_pullback(a), layer.transpose(kernel, a)), (expected, their_pullback(a))

    with case.blocks():
        (found, gradients, back), expected = jax.jit(both)(kernel, x, a)
    close((found, gradients), expected)
    close(back, expected[1][1])
    close(jnp.vdot(found, a), jnp.vdot(x, back))


@quick
@given(case=cases(), seed=st.integers(0, 99))
def test_tied_local_is_the_convolution_whose_transpose_is_the_adjoint(x64, strict, case, seed):
    conv, local = case.layer(convolution), case.layer(locally_connected)
    kernel, x, a = arrays(conv, case.batch, seed)
    assert conv.out_shape == local.out_shape

    def both(kernel, x, a):
        one, conv_pullback = jax.vjp(conv.linear, kernel, x)
        many, local_pullback = jax.vjp(local.linear, tied(case, kernel), x)
        backs = conv.transpose(kernel, a), local.transpose(tied(case, kernel), a)
        return (one, conv_pullback(a), backs[0]), (many, local_pullback(a), backs[1])

    with case.blocks():
        (one, gradients, back), (many, (dkernel, dx), tied_back) = jax.jit(both)(kernel, x, a)
    close(many, one)
    close((untied(case, dkernel), dx), gradients)
    close(tied_back, back)
    close(back, dx)
    close(jnp.vdot(one, a), jnp.vdot(x, back))


@quick
@pytest.mark.parametrize('case', [
    Case((7, 6), (3, 2), (2, 1), rows=2),
    Case((9,), 4, 1, [(0, 2)], rows=3),
], ids=str)  # fmt: skip
def test_second_derivatives_are_those_of_laxs(case, x64):
    kernel, x, a = arrays(case.layer(locally_connected), case.batch)
    v, u, _ = arrays(case.layer(locally_connected), case.batch, seed=7)

    def second(linear):
        def first(kernel, x):
            gradient = jax.grad(lambda *where: jnp.sum(a * jnp.tanh(linear(*where))), (0, 1))
            dkernel, dx = gradient(kernel, x)
            return jnp.sum(v * dkernel**2) + jnp.sum(u * dx**2)

        return jax.jit(jax.grad(first, (0, 1)))(kernel, x)

    with case.blocks():
        close(second(case.layer(locally_connected).linear), second(case.lax))


@quick
@pytest.mark.parametrize(('places', 'rows', 'sizes'), [
    (7, 9, {7}),  # one block
    (7, 4, {4, 3}),  # one and a remainder
    (7, 3, {3, 1}),  # several and a remainder
    (6, 2, {2}),  # several
    (7, 1, {1}),
    (7, 0, {1}),  # not even a row fits
])  # fmt: skip
def test_blocks_are_as_large_as_fits_and_leave_out_nothing(places, rows, sizes, x64, monkeypatch):
    case = Case((2 * places, 4), 3, (2, 1), 'SAME', rows=rows)
    layer, seen = case.layer(locally_connected), set()
    assert layer.out_shape[0] == places
    kernel, x, a = arrays(layer, case.batch)

    def spy(name):
        function = getattr(module, name)

        def seeing(place, rows, array):
            seen.add((name, rows))
            return function(place, rows, array)

        monkeypatch.setattr(module, name, seeing)

    spy('_patches')
    spy('_fold')

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(linear, kernel, x, a):
        value, pullback = jax.vjp(linear, kernel, x)
        return value, pullback(a)

    with case.blocks():
        found = value_and_gradients(layer.linear, kernel, x, a)
    close(found, value_and_gradients(case.lax, kernel, x, a))
    assert seen == {(name, size) for name in ('_patches', '_fold') for size in sizes}


@quick
@pytest.mark.parametrize('spatial', [(5,), (3, 4), (2, 3, 2)], ids=str)
def test_on_one_place_local_is_dense_on_the_flattened_input(spatial, x64):
    case = Case(spatial, spatial, 1, 'VALID')
    local, full = case.layer(locally_connected), dense(3, 'tanh')((*spatial, 2))
    kernel, x, a = arrays(local, case.batch)

    def flattened(kernel):
        """Inputs in the order of the channels-last input, where lax has the channels first."""
        return jnp.moveaxis(kernel.reshape(2, *spatial, 3), 0, -2).reshape(-1, 3)

    @jax.jit
    def both(kernel, bias, x, a):
        """(h, transpose, update) of the local layer, in the shapes of the dense one, and of it."""
        params = {'kernel': kernel, 'bias': bias.reshape(local.bias_shape)}
        h = local.apply(params, x)
        new = local.update(params, x, h, a)
        found = {'kernel': flattened(new['kernel']), 'bias': new['bias'].reshape(3)}
        found = h.reshape(2, 3), local.transpose(kernel, a), found
        params, a = {'kernel': flattened(kernel), 'bias': bias}, a.reshape(2, 3)
        h = full.apply(params, x)
        return found, (h, full.transpose(params['kernel'], a), full.update(params, x, h, a))

    close(*both(kernel, random(9, 3), x, a))


# ------------------------------------------------------------------ the layers


CASE = Case((9, 6), (3, 2), (2, 1), [(1, 0), 2], rows=2)  # five rows: two blocks, and one over


@quick
@each_kind
@pytest.mark.parametrize('activation', ['tanh', 'relu', 'linear'])
def test_apply_adds_the_bias_and_update_is_its_vjp_at_delta_over_batch(
    make, activation, x64, strict
):
    layer = CASE.layer(make, activation)
    kernel, x, delta = arrays(layer, CASE.batch)
    params = {'kernel': kernel, 'bias': random(5, *layer.bias_shape)}

    @jax.jit
    def both(params, x, delta):
        h, pullback = jax.vjp(layer.apply, params, x)
        expected, _ = pullback(delta / CASE.batch)
        return h, layer.linear(params['kernel'], x), expected, layer.update(params, x, h, delta)

    with CASE.blocks():
        h, product, expected, found = both(params, x, delta)
    close(found, expected)
    a = np.asarray(product) + np.asarray(params['bias'])
    function = {'tanh': np.tanh, 'relu': lambda a: np.maximum(a, 0), 'linear': lambda a: a}
    close(h, function[activation](a))


def test_shapes():
    """13 x 10, padded to 15 x 13: 3 x 2 kernels at strides 2, 3 have 7 x 4 places."""
    case = Case((13, 10), (3, 2), (2, 3), [(0, 2), (1, 2)], channels=3, features=5)
    local, conv = case.layer(locally_connected), case.layer(convolution)
    assert local.out_shape == conv.out_shape == (7, 4, 5)
    assert local.kernel_shape == (7, 4, 3 * 3 * 2, 5)
    assert conv.kernel_shape == (3, 2, 3, 5)
    assert local.bias_shape == (7, 4, 5)  # one for each unit
    assert conv.bias_shape == (5,)  # one for each feature


@each_kind
@pytest.mark.parametrize('strides', [1, 2, (2, 3)])
def test_fans_count_the_connections_where_there_is_no_padding(make, strides):
    layer = make(4, (3, 2), strides, 'VALID')((7, 8, 2))
    connected = np.asarray(
        jax.jacobian(layer.linear, argnums=1)(
            jnp.ones(layer.kernel_shape), jnp.zeros((1, *layer.in_shape))
        )
    )
    units, inputs = math.prod(layer.out_shape), math.prod(layer.in_shape)
    assert connected.sum() / units == layer.fans[0]
    np.testing.assert_allclose(connected.sum() / inputs, layer.fans[1], rtol=1e-6)


@each_kind
@pytest.mark.parametrize(('strides', 'places_of_an_input'), [(1, 15), ((2, 3), 15 * 9 / 42)])
def test_init_is_glorots_for_the_mean_fans(make, strides, places_of_an_input):
    channels, features, size = 30, 50, (3, 5)
    layer = make(features, size, strides)((6, 7, channels))  # strides (2, 3): 3 x 3 places
    params = layer.init(jax.random.key(0))
    kernel, fans = np.asarray(params['kernel']), 15 * channels + places_of_an_input * features
    limit = math.sqrt(6 / fans)
    assert 0.999 * limit < abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), math.sqrt(2 / fans), rtol=0.01)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.02 * limit)
    assert len(np.unique(kernel)) > 0.9 * kernel.size  # no place has another's
    chex.assert_trees_all_equal(params['bias'], jnp.zeros(layer.bias_shape))


@quick
@each_kind
def test_a_population_equals_its_members_alone(make, x64, strict):
    layer = CASE.layer(make)
    members = [arrays(layer, CASE.batch, seed) for seed in range(3)]

    def everything(kernel, x, a):
        value, pullback = jax.vjp(layer.linear, kernel, x)
        return value, pullback(a), layer.transpose(kernel, a)

    with CASE.blocks():
        stacked = [jnp.stack(leaves) for leaves in zip(*members, strict=True)]
        together = jax.jit(jax.vmap(everything))(*stacked)
        one_by_one = jax.jit(everything)
        alone = [one_by_one(*member) for member in members]
        one_input = jax.jit(jax.vmap(layer.linear, (0, None)))(stacked[0], members[0][1])
        expected = [jax.jit(layer.linear)(kernel, members[0][1]) for kernel, _, _ in members]
    close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone))
    close(one_input, jnp.stack(expected))


# ------------------------------------------------------------------ precision


@quick
@each_kind
@pytest.mark.parametrize(('dtype', 'unit'), [('float32', 2**-24), ('bfloat16', 2**-8)])
def test_types_are_kept_and_rounded_once(make, dtype, unit, x64, strict):
    """What is left is half a unit in the last place, and the rounding of a sum in float32."""
    case = Case((11, 8), (5, 3), (1, 2), rows=2, channels=3, features=4, batch=3)
    layer = case.layer(make)
    kernel, x, a = (array.astype(dtype) for array in arrays(layer, case.batch))

    def everything(kernel, x, a):
        value, pullback = jax.vjp(layer.linear, kernel, x)
        dkernel, dx = pullback(a)
        return value, dkernel, dx, layer.transpose(kernel, a)

    exact = [array.astype('float64') for array in (kernel, x, a)]
    with case.blocks(itemsize=2):
        found = jax.jit(everything)(kernel, x, a)
        expected = jax.jit(everything)(*exact)
        sizes = jax.jit(everything)(*map(abs, exact))  # of the terms that are added up
    for result, value, size in zip(found, expected, sizes, strict=True):
        assert result.dtype == dtype
        error = abs(np.asarray(result.astype('float64') - value))
        bound = 1.01 * unit * abs(np.asarray(value)) + 30 * 2**-24 * np.asarray(size)
        assert (error <= bound).all(), (error / bound).max()


@pytest.mark.parametrize('rows', [1, 3, 16])
@pytest.mark.parametrize('weights', [[256] + 8 * [1], 8 * [1] + [256]], ids=['first', 'last'])
def test_overlapping_patches_are_added_in_float32(weights, rows, strict):
    """In bfloat16, 256 + 1 is 256, and so is adding 1 eight times."""
    case = Case((24,), 9, 1, 'VALID', channels=1, features=1, batch=1, rows=rows)
    layer = case.layer(locally_connected)
    kernel = jnp.broadcast_to(jnp.asarray(weights, jnp.bfloat16)[None, :, None], (16, 9, 1))
    with case.blocks(itemsize=4):
        back = jax.jit(layer.transpose)(kernel, jnp.ones((1, 16, 1), jnp.bfloat16))
    expected = np.convolve(np.ones(16), weights)
    assert expected[8:16].tolist() == 8 * [264]
    np.testing.assert_array_equal(back.reshape(24), jnp.asarray(expected, jnp.bfloat16))


# ------------------------------------------------------------------ cost


def products(function, *arguments):
    """How many products of matrices, or convolutions, a compiled function contains."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return len(re.findall(r'\b(?:dot|convolution)\(', text))


def update(layer: Layer, batch=8):
    """layer.update, and arguments for it."""
    kernel, x, delta = (array.astype('float32') for array in arrays(layer, batch))
    params = {'kernel': kernel, 'bias': jnp.zeros(layer.bias_shape)}
    return layer.update, params, x, delta, delta


@pytest.mark.parametrize('rows', [7, 3], ids=['one', 'blocks'])
def test_update_pays_for_the_gradient_of_the_kernel_alone(rows):
    """And neither for the layer's value nor for the gradient of its input."""
    case = Case((7, 8), 3, channels=8, features=8, batch=8, rows=rows)
    blocks = 1 if rows == 7 else 2  # the body of the loop, and the remainder
    layer = case.layer(locally_connected)
    with case.blocks(itemsize=4):
        kernel, x, _ = arrays(layer, case.batch)
        assert products(layer.linear, kernel, x) == blocks
        assert products(*update(layer)) == blocks
    assert products(*update(case.layer(convolution))) == 1
    assert products(*update(dense(16)((7, 8, 8)))) == 1


# ------------------------------------------------------------------ bad input


@each_kind
@pytest.mark.parametrize(('arguments', 'words'), [
    (dict(kernel_size=5, padding='VALID'), r'kernel of \(5, 5\).*input of \(4, 6\)'),
    (dict(kernel_size=(9, 2), padding=2), r'kernel of \(9, 2\).*input of \(8, 10\)'),
    (dict(kernel_size=3, padding=-1), r'padding -1'),
    (dict(kernel_size=3, padding=[(1, 1), (0, -2)]), r'padding .*-2'),
    (dict(kernel_size=3, padding=[1]), r'padding \[1\].*2'),
    (dict(kernel_size=3, padding=[(1, 1), (1, 2, 3)]), r'padding .*\(1, 2, 3\)'),
    (dict(kernel_size=3, padding='CIRCULAR'), r"padding .*'CIRCULAR'"),
    (dict(kernel_size=3, strides=0), r'strides 0'),
    (dict(kernel_size=3, strides=(1, 2, 1)), r'strides \(1, 2, 1\).*2 axes'),
    (dict(kernel_size=(3, 3, 3)), r'kernel_size \(3, 3, 3\).*2 axes'),
    (dict(kernel_size=(3, 0)), r'kernel_size \(3, 0\)'),
], ids=str)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        make(4, **arguments)((4, 6, 2))


@each_kind
def test_without_more_words_a_kernel_visits_every_input(make):
    """Stride 1 and padding 'SAME'."""
    layer, said = make(4, 3)((5, 6, 2)), make(4, 3, 1, 'SAME', 'tanh')((5, 6, 2))
    assert layer.out_shape == said.out_shape == (5, 6, 4)
    assert window((5, 6), 3) == window((5, 6), 3, 1, 'SAME')
    kernel, x, _ = arrays(layer, 2)
    np.testing.assert_array_equal(layer.linear(kernel, x), said.linear(kernel, x))


def test_blocks_of_another_backend_are_taken_as_long_as_it_is_said(monkeypatch):
    module = sys.modules[locally_connected.__module__]
    monkeypatch.setattr(module, 'BLOCK_BYTES', {'cpu': 1})  # a row at a time; elsewhere all at once
    layer = locally_connected(2, 3)((6, 5, 1))
    kernel, x = jnp.zeros(layer.kernel_shape), jnp.zeros((1, *layer.in_shape))

    def loops():
        return 'scan' in str(jax.make_jaxpr(lambda kernel, x: layer.linear(kernel, x))(kernel, x))

    assert loops()
    with module.blocks_for('gpu'):
        assert not loops()
    assert loops()


def test_a_window_may_be_asked_for_by_lists():
    assert window([5, 4], [3, 2], [2, 1]) == window((5, 4), (3, 2), (2, 1))
    assert hash(window([5, 4], [3, 2], [2, 1])) == hash(window((5, 4), (3, 2), (2, 1)))
