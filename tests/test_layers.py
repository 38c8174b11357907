"""Layers: the transpose is the adjoint, the update the VJP, the initialisation Glorot's."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioprop.layers import ACTIVATIONS, dense
from bioprop.layers.base import COMPETING

pytestmark = pytest.mark.usefixtures('quick')
ELEMENTWISE = set(ACTIVATIONS) - set(COMPETING)
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@given(
    in_shape=SHAPES, features=st.integers(1, 6), batch=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_dense_transpose_is_the_adjoint_of_linear(x64, strict, in_shape, features, batch, seed):
    layer = dense(features)(in_shape)
    kernel = random(seed, math.prod(in_shape), features)
    x, a = random(seed + 100, batch, *in_shape), random(seed + 200, batch, features)
    up, down = layer.linear(kernel, x), layer.transpose(kernel, a)
    assert up.shape == (batch, features)
    assert down.shape == (batch, *in_shape)
    np.testing.assert_allclose(jnp.sum(up * a), jnp.sum(x * down), rtol=1e-10, atol=1e-12)
    (expected,) = jax.linear_transpose(lambda v: layer.linear(kernel, v), x)(a)
    np.testing.assert_allclose(down, expected, rtol=1e-10, atol=1e-12)


def test_dense_linear_is_the_matrix_product_of_the_flattened_input(x64):
    kernel, x = random(0, 6, 4), random(1, 5, 2, 3)
    expected = np.reshape(np.asarray(x), (5, 6)) @ np.asarray(kernel)
    np.testing.assert_allclose(dense(4)((2, 3)).linear(kernel, x), expected, rtol=1e-10)


@pytest.mark.parametrize('activation', sorted(ELEMENTWISE))
def test_apply_adds_the_bias_and_then_the_nonlinearity(activation, x64, strict):
    functions = {
        'tanh': np.tanh, 'relu': lambda a: np.maximum(a, 0), 'linear': lambda a: a,
        'sigmoid': lambda a: 1 / (1 + np.exp(-a)), 'hard_sigmoid': lambda a: np.clip(a, 0, 1),
        'leaky_relu': lambda a: np.where(a > 0, a, 0.01 * a),
        'elu': lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))),
        'lif': lambda a: 0.82 * np.tanh(np.maximum(a, 0) / 0.82),
        'sign': lambda a: np.where(a > 0, 1.0, -1.0),
    }  # fmt: skip
    params, x = {'kernel': random(0, 12, 5), 'bias': random(1, 5)}, random(2, 6, 4, 3)
    a = np.reshape(np.asarray(x), (6, 12)) @ np.asarray(params['kernel']) + np.asarray(
        params['bias']
    )
    h = dense(5, activation)((4, 3)).apply(params, x)
    np.testing.assert_allclose(h, functions[activation](a), rtol=1e-10)


@pytest.mark.parametrize('activation', sorted(ELEMENTWISE))
def test_update_is_the_vjp_of_apply_at_delta_over_batch(activation, x64, strict):
    layer = dense(5, activation)((4, 3))
    params, x = {'kernel': random(0, 12, 5), 'bias': random(1, 5)}, random(2, 6, 4, 3)
    delta = random(3, 6, 5)
    h, pullback = jax.vjp(layer.apply, params, x)
    expected, _ = pullback(delta / 6)
    chex.assert_trees_all_close(layer.update(params, x, h, delta), expected, rtol=1e-10)


@pytest.mark.parametrize('activation', sorted(ELEMENTWISE))
def test_slope_of_the_state_is_the_derivative_and_has_an_integral(activation, x64, strict):
    function, slope, integral = ACTIVATIONS[activation]
    a = random(0, 50)
    h = function(a)
    np.testing.assert_allclose(slope(h), jax.vmap(jax.grad(function))(a), rtol=1e-10)
    np.testing.assert_allclose(jax.vmap(jax.grad(integral))(h), slope(h), rtol=1e-10)


def test_init_is_glorot_uniform_with_zero_bias():
    inputs, features = 12 * 25, 500
    params = dense(features)((12, 25)).init(jax.random.key(0))
    kernel = np.asarray(params['kernel'])
    limit = math.sqrt(6 / (inputs + features))
    assert kernel.shape == (inputs, features)
    assert abs(kernel).max() <= limit
    assert abs(kernel).max() > 0.999 * limit
    np.testing.assert_allclose(kernel.std(), math.sqrt(2 / (inputs + features)), rtol=0.01)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.01 * limit)
    chex.assert_trees_all_equal(params['bias'], jnp.zeros(features))


def test_init_differs_by_key():
    layer = dense(5)((4, 3))
    one, two = (layer.init(jax.random.key(seed))['kernel'] for seed in (0, 1))
    assert not jnp.any(one == two)
