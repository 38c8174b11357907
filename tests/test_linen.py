"""The flax module: options, parameters, values and gradients of `flax.linen.ConvLocal`."""

import inspect
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.extend.core import jaxprs_in_params

from bioprop.layers.linen import ConvLocal

pytestmark = pytest.mark.usefixtures('quick')
BOTH = ConvLocal, nn.ConvLocal
IMAGE = (2, 7, 6, 2)


def case(shape=IMAGE, kernel_size=(3, 2), **options):
    return shape, {'kernel_size': kernel_size, **options}


CASES = {
    '2-D': case(strides=(2, 1)),
    '1-D': case((2, 7, 3), 3, padding='VALID'),
    '3-D': case((1, 4, 3, 5, 1), (2, 2, 3), strides=[1, 1, 2], kernel_dilation=(1, 2, 2)),
    'no batch axis': case((5, 4, 2), (2, 2)),
    'two batch axes, no bias': case(
        (2, 3, 6, 6, 1), (3, 3), strides=2, padding=((1, 0), (2, 1)), use_bias=False
    ),
    'an empty batch': case((0, 5, 4, 2)),
    'None for every 1': case(strides=None, input_dilation=None, kernel_dilation=None),
    **{
        f'padding {padding}': case(padding=padding, strides=(1, 2))
        for padding in ('same', 'valid', 'same_lower', 1, -1, (0, 2), [(1, 0), [2, -1]])
    },
    **{
        f'padding {padding}, dilated kernel': case(
            padding=padding, strides=(2, 1), kernel_dilation=(2, 4)
        )
        for padding in ('SAME', 'SAME_LOWER', 'VALID', 'CIRCULAR', 'REFLECT', (0, (1, -1)))
    },
    'CAUSAL': case((2, 7, 3), 3, padding='CAUSAL'),
    'CAUSAL, strides, dilated kernel': case(
        (7, 3), (3,), padding='CAUSAL', strides=2, kernel_dilation=2
    ),
    'copies of copies': case(padding='CIRCULAR', kernel_dilation=9),
    'mirrored twice': case(padding='REFLECT', kernel_dilation=9),
    'dilated input': case(input_dilation=(2, 3), padding=1),
    'dilated input and kernel, less at the edges': case(
        input_dilation=3, kernel_dilation=[2, 1], strides=(3, 2), padding=((1, -2), (0, -1))
    ),
    'mask': case(mask=np.tril(np.ones((7, 6, 12, 4)))),
    'mask, no bias': case(padding='VALID', use_bias=False, mask=np.zeros((5, 5, 12, 4))),
    'precision': case(precision='highest', kernel_dilation=2),
    'precisions': case(precision=(lax.Precision.HIGH, lax.Precision.HIGH)),
    'complex': case(dtype=jnp.complex128),
}  # fmt: skip


def random(seed, shape, dtype=float):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def value_and_gradients(module, variables, x):
    output, pullback = jax.vjp(module.apply, variables, x)
    cotangent = jnp.cos(jnp.arange(output.size, dtype=output.dtype))
    return output, pullback(cotangent.reshape(output.shape))


@pytest.mark.parametrize('name', CASES)
def test_takes_the_place_of_flaxs_module(name, x64):
    shape, options = CASES[name]
    ours, flax = (module(4, **options, param_dtype=jnp.float64) for module in BOTH)
    x = random(0, shape)
    found, expected = (jax.eval_shape(m.init, jax.random.key(0), x) for m in (ours, flax))
    assert found == expected
    variables = jax.tree.map(lambda leaf: random(1, leaf.shape), expected)
    found, expected = (
        jax.jit(partial(value_and_gradients, module))(variables, x) for module in (ours, flax)
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-12)


def test_options_their_order_and_their_defaults_are_flaxs():
    ours, flax = (
        {name: option.default for name, option in inspect.signature(module).parameters.items()}
        for module in BOTH
    )
    assert list(ours) == list(flax)
    assert ours == flax


@pytest.mark.parametrize('module', BOTH)
def test_what_flaxs_does_not_know_either_is_no_option(module):
    with pytest.raises(TypeError, match='preferred_element_type'):
        module(4, (3, 2), preferred_element_type=jnp.float32)


@pytest.mark.parametrize(
    'inits', [{}, {'kernel_init': nn.initializers.he_uniform(), 'bias_init': nn.initializers.ones}]
)
def test_starts_as_flaxs_within_a_network(inits):
    class Network(nn.Module):
        layer: type

        @nn.compact
        def __call__(self, x):
            return self.layer(2, (2, 2), **inits)(self.layer(3, (3, 3), 2)(x))

    x = random(0, (1, 6, 5, 2), jnp.float32)
    started = (jax.jit(Network(layer).init)(jax.random.key(3), x) for layer in BOTH)
    chex.assert_trees_all_equal(*started)


def test_the_fan_in_of_one_place_keeps_the_variance_of_the_input():
    x = random(0, (400, 8, 8, 16), jnp.float32)
    init = nn.initializers.lecun_normal(batch_axis=(0, 1))
    module = ConvLocal(8, (3, 3), padding='VALID', kernel_init=init)
    output = module.apply(module.init(jax.random.key(1), x), x)
    np.testing.assert_allclose(np.var(output), 1, rtol=0.1)


def as_it_comes(*arrays, dtype):
    return arrays


def coarse_inputs(x, kernel, bias, dtype):
    return x.astype(jnp.bfloat16), kernel, bias


@pytest.mark.parametrize('kind', [jnp.float32, jnp.bfloat16, jnp.int32, bool])
@pytest.mark.parametrize(
    'options',
    [{}, {'dtype': jnp.bfloat16}, {'promote_dtype': as_it_comes}, {'promote_dtype': coarse_inputs}],
    ids=['flaxs', 'one for all', 'as it comes', 'coarse inputs'],
)
def test_dtypes_are_flaxs(options, kind):
    x = random(0, (2, 5, 5, 1), kind)
    ours, flax = (module(3, (3, 3), padding='CIRCULAR', **options) for module in BOTH)
    variables = jax.tree.map(
        lambda leaf: random(1, leaf.shape, leaf.dtype),
        jax.eval_shape(flax.init, jax.random.key(0), x),
    )
    output, expected = (jax.jit(module.apply)(variables, x) for module in (ours, flax))
    assert output.dtype == expected.dtype
    tolerance = 4 * float(jnp.finfo(options.get('dtype', jnp.float32)).eps)
    chex.assert_trees_all_close(output, expected, rtol=tolerance, atol=tolerance)


def precisions(jaxpr):
    """Of every product of matrices, however deep."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == 'dot_general':
            yield equation.params['precision']
        for inner in jaxprs_in_params(equation.params):
            yield from precisions(inner)


@pytest.mark.parametrize(
    ('given', 'meant'),
    [
        ('highest', lax.Precision.HIGHEST),
        ('tensorfloat32', lax.Precision.HIGH),
        (lax.Precision.HIGH, lax.Precision.HIGH),
        (('default', 'fastest'), lax.Precision.DEFAULT),
    ],
)
def test_precision_is_that_of_every_product_of_every_derivative(given, meant):
    module = ConvLocal(3, (3, 3), precision=given)
    x = random(0, (2, 5, 5, 1), jnp.float32)
    variables = module.init(jax.random.key(0), x)

    def loss(variables, x):
        return (module.apply(variables, x) ** 2).sum()

    def slope(variables, x):
        gradient = jax.grad(loss, (0, 1))(variables, x)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient))

    with jax.default_matmul_precision('highest' if meant is lax.Precision.HIGH else 'high'):
        found = list(precisions(jax.make_jaxpr(jax.grad(slope, (0, 1)))(variables, x).jaxpr))
    assert len(found) > 3
    assert set(found) == {(meant, meant)}


def test_without_a_precision_jaxs_own_setting_holds():
    module = ConvLocal(3, (3, 3))
    x = random(0, (2, 5, 5, 1), jnp.float32)
    variables = module.init(jax.random.key(0), x)
    with jax.default_matmul_precision('highest'):
        found = set(precisions(jax.make_jaxpr(module.apply)(variables, x).jaxpr))
    assert found == {(lax.Precision.HIGHEST, lax.Precision.HIGHEST)}


REFUSED = [
    ({'feature_group_count': 2}, NotImplementedError, 'feature_group_count must be 1, not 2'),
    ({'conv_general_dilated': lax.conv_general_dilated}, NotImplementedError, 'leave it out'),
    ({'conv_general_dilated_cls': lambda: None}, NotImplementedError, '_cls changes nothing'),
    ({'precision': ('highest', 'default')}, ValueError, r"precision \('highest', 'default'\) must"),
    ({'precision': 'F32_F32_F32'}, ValueError, "precision 'F32_F32_F32' must be None or one"),
    ({'padding': 'circular'}, ValueError, "padding 'circular' must be .* CIRCULAR"),
    ({'padding': 'CAUSAL'}, ValueError, "padding 'CAUSAL' must be .* CAUSAL .of one axis"),
    ({'padding': (1, 1, 1)}, ValueError, 'padding'),
    ({'padding': -3}, ValueError, 'does not fit'),
    ({'padding': 'VALID', 'kernel_dilation': 9}, ValueError, 'does not fit'),
    ({'input_dilation': 2}, ValueError, "padding 'SAME' does not go with an input_dilation"),
    ({'input_dilation': (2, 0)}, ValueError, r'input_dilation \(2, 0\) must be'),
    ({'kernel_dilation': (2,)}, ValueError, r'kernel_dilation \(2,\) must be'),
    ({'strides': 0}, ValueError, 'strides 0 must be'),
    ({'kernel_size': (3, 0)}, ValueError, r'kernel_size \(3, 0\) must be'),
    ({'kernel_size': ()}, ValueError, 'needs an input with spatial axes'),
    ({'kernel_size': (2, 2, 2, 2)}, ValueError, r'inputs must be .* not \(2, 7, 6, 2\)'),
    ({'mask': np.ones((2, 2))}, ValueError, r'mask .* \(7, 6, 12, 4\): \(2, 2\)'),
]  # fmt: skip


@pytest.mark.parametrize(('options', 'error', 'message'), REFUSED, ids=lambda part: str(part)[:40])
def test_the_rest_is_refused_by_name(options, error, message):
    module = ConvLocal(4, **{'kernel_size': (3, 2), **options})
    with pytest.raises(error, match=message) as refused:
        jax.eval_shape(module.init, jax.random.key(0), jnp.ones(IMAGE))
    assert '\n' not in str(refused.value)
