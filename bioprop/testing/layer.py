"""Whether a layer keeps the contract of `bioprop.layers.base`."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.layers import Layer
from bioprop.layers.base import Shape
from bioprop.testing.faults import Fault, attempt, finite, like, naming, same

BATCH = 3
ENTRIES = 1 << 23  # of the largest matrix that is written out
DRAWS = 64  # kernels that are drawn to see their spread


def check_layer(describe: Callable[[Shape], Layer], in_shape: Shape, *, seed: int = 0) -> None:
    """Raises Fault for the first thing that is wrong with the layer `describe(in_shape)`.

    Its functions have their shapes and types, in float32 and bfloat16, without implicit promotion;
    `linear` is linear in the kernel and in x; `transpose` is its exact transpose, for any kernel;
    both have right gradients in reverse; each example is on its own; the activation is elementwise
    and `slope` its derivative in terms of h; `update` is the gradient over the batch; kernels start
    Glorot-uniform by the layer's fans, biases at zero; all is the same compiled and under vmap.

    in_shape is that of one example and must be small: maps are written out as matrices, column by
    column, in double precision. Raises ValueError if they are too large for that.
    """
    in_shape = tuple(in_shape)
    layer = attempt(f'binding to {in_shape}', describe, in_shape)
    if not isinstance(layer, Layer):
        raise Fault(f'a description must return a bioprop.layers.Layer, not {layer!r}')
    with naming(f'layer {in_shape} -> {layer.out_shape}'):
        if layer.in_shape != in_shape:
            raise Fault(f'in_shape is {layer.in_shape}, but the layer was bound to {in_shape}')
        entries = BATCH * math.prod(layer.out_shape) * math.prod(layer.kernel_shape)
        if entries > ENTRIES:
            raise ValueError(
                f'{in_shape} makes a matrix of {entries:,} entries: check the layer on a smaller '
                f'input, of at most {ENTRIES:,}'
            )
        with jax.enable_x64(False):
            _check_shapes(layer)
            _check_init(layer, jax.random.key(seed))
        with jax.enable_x64(True):
            _check_numbers(layer, np.random.default_rng(seed))


# ------------------------------------------------------------------ shapes, types, initial values


def _check_shapes(layer):
    for precision in (jnp.float32, jnp.bfloat16):
        words = f' ({jnp.dtype(precision)}, nothing promoted)'

        def shaped(shape, precision=precision):
            return jax.ShapeDtypeStruct(tuple(shape), precision)

        def trace(name, expected, *arguments, words=words):
            found = attempt(f'{name}{words}', jax.eval_shape, getattr(layer, name), *arguments)
            like(f'{name}{words}', found, expected)

        kernel, bias = shaped(layer.kernel_shape), shaped(layer.bias_shape)
        x, a = (shaped((BATCH, *shape)) for shape in (layer.in_shape, layer.out_shape))
        params = {'kernel': kernel, 'bias': bias}
        with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
            trace('linear', a, kernel, x)
            trace('transpose', x, kernel, a)
            trace('activation', a, a)
            trace('slope', a, a)
            trace('integral', a, a)
            trace('apply', a, params, x)
            trace('update', params, params, x, a, a)


def _check_init(layer, key):
    """Glorot and Bengio 2010: uniform within sqrt(6 / (fan in + fan out)), hence its deviation."""
    shapes = {'kernel': layer.kernel_shape, 'bias': layer.bias_shape}
    params = attempt('init', layer.init, key)
    like('init', params, {name: jnp.zeros(shape) for name, shape in shapes.items()})
    same('init', {'bias': params['bias']}, {'bias': jnp.zeros(layer.bias_shape)}, 'Start at zero')
    if not min(layer.fans) > 0:
        raise Fault(f'fans must be positive, not {layer.fans}')
    kernels = attempt(
        'init_kernel under vmap', jax.vmap(layer.init_kernel), jax.random.split(key, DRAWS)
    )
    limit, deviation = math.sqrt(6 / sum(layer.fans)), jnp.std(kernels)
    if jnp.max(jnp.abs(kernels)) > 1.0001 * limit or not 0.8 < deviation / limit * 3**0.5 < 1.2:
        raise Fault(
            f'init: kernels reach {jnp.max(jnp.abs(kernels)):.4g} and deviate by {deviation:.4g}; '
            f"Glorot's of fans {layer.fans} reach {limit:.4g} and deviate by {limit / 3**0.5:.4g}"
        )


# ------------------------------------------------------------------ numbers


def _check_numbers(layer, random):
    def draw(shape):
        return jnp.asarray(random.normal(size=shape), float)

    def arguments():
        params = {'kernel': draw(layer.kernel_shape), 'bias': draw(layer.bias_shape)}
        return params, draw((BATCH, *layer.in_shape)), draw((BATCH, *layer.out_shape))

    look, members = functools.partial(_look, layer), (arguments(), arguments())
    run, written_out = jax.jit(look), jax.jit(functools.partial(_written_out, layer))
    eager = attempt('the layer', look, *members[0])
    finite('the layer', eager)
    found = [attempt('the layer under jit', run, *each) for each in members]
    same('under jit it differs', found[0], eager, 'Depend on arguments alone')
    _check_activation(layer, members[0][2], random)
    _check_linear(layer, *members)
    _check_examples(run, members[0], found[0])
    for each, one in zip(members, found, strict=True):  # a transpose must fit every kernel
        _check_products(one, written_out(*each))
    _check_fans(layer, *members[0][:2])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    both = attempt('the layer under vmap', jax.jit(jax.vmap(look)), *stacked)
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    same('under vmap it differs', both, expected, 'Depend on arguments alone')


def _look(layer, params, x, a):
    """All that a layer does with them, and its derivatives in reverse."""
    kernel, h = params['kernel'], layer.apply(params, x)
    up, pull_up = jax.vjp(layer.linear, kernel, x)
    down, pull_down = jax.vjp(layer.transpose, kernel, a)
    return {
        'linear': up,
        'transpose': down,
        'apply': h,
        'update': layer.update(params, x, h, a),
        'gradient of linear': dict(zip(('kernel', 'x'), pull_up(a), strict=True)),
        'gradient of transpose': dict(zip(('kernel', 'a'), pull_down(x), strict=True)),
    }


def _check_activation(layer, a, random):
    h, slope = jax.jvp(layer.activation, (a,), (jnp.ones_like(a),))
    mask = random.random(a.shape) < 0.5
    others = jnp.where(mask, a, a + 1)
    same(
        'activation of a unit changes with other units',
        {'activation': jnp.where(mask, layer.activation(others), 0)},
        {'activation': jnp.where(mask, h, 0)},
        'It must be elementwise: put what couples units into linear',
    )
    same(
        'slope is not the derivative of activation', {'slope': layer.slope(h)}, {'slope': slope},
        'Write dh/da in terms of h, which is what it is given',
    )  # fmt: skip
    _, derivative = jax.jvp(layer.integral, (h,), (jnp.ones_like(h),))
    same(
        'slope is not the derivative of integral', {'slope': derivative}, {'slope': slope},
        'Write the integral of the slope over h',
    )  # fmt: skip


def _check_linear(layer, one, other):
    (params, x, _), (others, y, _) = one, other
    kernel, second = params['kernel'], others['kernel']
    linear = jax.jit(layer.linear)
    for name, mixed, parts in (
        ('x', linear(kernel, 2 * x - 3 * y), (linear(kernel, x), linear(kernel, y))),
        ('kernel', linear(2 * kernel - 3 * second, x), (linear(kernel, x), linear(second, x))),
    ):
        expected = 2 * parts[0] - 3 * parts[1]
        same(
            f'linear is not linear in {name}',
            {f'linear of 2 {name} - 3 {name}': mixed},
            {f'linear of 2 {name} - 3 {name}': expected},
            'Bias and nonlinearity have their own places',
        )


def _check_examples(run, arguments, found):
    """What becomes of the first example does not change with the others."""
    params, x, a = arguments
    others = run(params, x.at[1:].multiply(-2), a.at[1:].multiply(3))
    names = ('linear', 'transpose', 'apply')
    first, expected = ({name: each[name][:1] for name in names} for each in (others, found))
    same(
        'an example changes with the others of the batch', first, expected,
        'Nothing may pass between examples',
    )  # fmt: skip


def _written_out(layer, params, x, a):
    """What follows from `linear` as a matrix, of x and of the kernel, column by column."""
    kernel, inputs = params['kernel'], jnp.eye(math.prod(layer.in_shape))
    of_x = _flat(layer.linear(kernel, inputs.reshape(-1, *layer.in_shape)))
    entries = jnp.eye(kernel.size).reshape(-1, *kernel.shape)
    of_kernel = _flat(jax.vmap(layer.linear, (0, None))(entries, x))
    back = (_flat(a) @ of_x.T).reshape(x.shape)
    gradient = (of_kernel @ a.reshape(-1)).reshape(kernel.shape)
    update = jax.grad(lambda params: jnp.vdot(layer.apply(params, x), a) / BATCH)(params)
    return {
        'transpose': back,
        'gradient of linear': {'kernel': gradient, 'x': back},
        'gradient of transpose': {
            'kernel': gradient,
            'a': (_flat(x) @ of_x).reshape(a.shape),
        },
        'update': update,
    }


def _flat(x):
    return x.reshape(len(x), -1)


def _check_products(found, expected):
    for name, remedy in (
        ('transpose', 'It must be the transpose of linear for whatever kernel it is given'),
        ('gradient of linear', 'Look at its custom_vjp, and that linear is the same for any batch'),
        ('gradient of transpose', 'Look at its custom_vjp'),
        ('update', 'It is the mean gradient of <delta, apply>: leave it to Layer.update'),
    ):
        same(f'{name} is wrong', {name: found[name]}, {name: expected[name]}, remedy)


def _check_fans(layer, params, x):
    """They count the weights of a unit and the units of an input, and may count padding."""
    kernel, inputs = params['kernel'], jnp.eye(math.prod(layer.in_shape))
    entries = jnp.eye(kernel.size).reshape(-1, *kernel.shape)
    used = _flat(jax.vmap(layer.linear, (0, None))(entries, x[:1])) != 0
    reached = _flat(layer.linear(kernel, inputs.reshape(-1, *layer.in_shape))) != 0
    into, out = jnp.max(jnp.sum(used, 0)), jnp.mean(jnp.sum(reached, 1))
    if into > layer.fans[0] or out > layer.fans[1] + 1e-6:
        raise Fault(
            f'fans are {layer.fans}, but a unit has {into} weights and an input goes to {out:.4g} '
            'units in the mean'
        )
