"""The flax module: the parameters, values and gradients of `flax.linen.ConvLocal`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bioprop.linen import ConvLocal

pytestmark = pytest.mark.usefixtures('quick')
CASES = {
    '2-D': ((3, 6, 5, 2), {'kernel_size': (3, 2), 'strides': (2, 1)}),
    '1-D': ((2, 7, 3), {'kernel_size': 3, 'padding': 'VALID'}),
    'two batch axes, no bias': (
        (2, 3, 6, 6, 1),
        {'kernel_size': (3, 3), 'strides': 2, 'padding': ((1, 0), (2, 1)), 'use_bias': False},
    ),
    'no batch axis': ((5, 4, 2), {'kernel_size': (2, 2)}),
}


def random(seed, shape, dtype=float):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize('case', CASES)
def test_takes_the_place_of_flaxs_module(case, x64):
    shape, options = CASES[case]
    ours, flax = (
        module(4, **options, param_dtype=jnp.float64) for module in (ConvLocal, nn.ConvLocal)
    )
    x = random(0, shape)
    variables = flax.init(jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, ours.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda leaf: random(1, leaf.shape), variables)
    output, pullback = jax.vjp(flax.apply, variables, x)
    expected = (output, pullback(random(2, output.shape)))
    output, pullback = jax.vjp(ours.apply, variables, x)
    found = (output, pullback(random(2, output.shape)))
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-12)


def test_dtypes_are_flaxs():
    x = random(0, (2, 5, 5, 1), jnp.float32)
    for dtype in (None, jnp.bfloat16):
        ours, flax = (module(3, (3, 3), dtype=dtype) for module in (ConvLocal, nn.ConvLocal))
        variables = flax.init(jax.random.key(0), x)
        expected = flax.apply(variables, x)
        output = ours.apply(variables, x)
        assert output.dtype == expected.dtype == (dtype or jnp.float32)
        tolerance = 4 * float(jnp.finfo(output.dtype).eps)
        chex.assert_trees_all_close(output, expected, rtol=tolerance, atol=tolerance)


def test_default_kernel_keeps_the_variance_of_its_input():
    x = random(0, (400, 8, 8, 16), jnp.float32)
    module = ConvLocal(8, (3, 3), padding='VALID')
    output = module.apply(module.init(jax.random.key(1), x), x)
    np.testing.assert_allclose(np.var(output), 1, rtol=0.1)
