"""Products of traced programs: each kind of equation that holds some, against those by hand."""

import math

import jax
import jax.numpy as jnp
import pytest
from by_hand import linear_product
from jax.experimental import pallas

from bioprop import feedforward
from bioprop.costs.products import flops, products, unbounded, works
from bioprop.costs.program import traced
from bioprop.costs.trace import multiply_adds
from bioprop.layers import convolution, dense, locally_connected
from bioprop.layers.locally_connected import BLOCK_BYTES

X, W = jax.ShapeDtypeStruct((6, 4), jnp.float32), jax.ShapeDtypeStruct((4, 4), jnp.float32)
ONE = (1, 6, 4, 4)


def of(function, *arguments):
    return products(traced(function, *(arguments or (X, W))))


def with_jvp(function):
    made = jax.custom_jvp(function)
    made.defjvp(lambda primals, tangents: (function(*primals), tangents[0]))
    return made


def with_vjp(function):
    made = jax.custom_vjp(function)
    made.defvjp(lambda x, w: (function(x, w), None), lambda _, out: (out, None))
    return made


def test_a_product_is_counted_wherever_it_stands():
    def times(length):
        return lambda x, w: jax.lax.scan(lambda x, _: (x @ w, None), x, length=length)[0]

    assert of(lambda x, w: x @ w) == [ONE]
    assert of(times(5)) == of(lambda x, w: jax.lax.fori_loop(0, 5, lambda _, x: x @ w, x))
    assert of(times(5)) == [ONE] * 5
    assert of(lambda x, w: jax.vmap(times(3), (0, None))(x[:, None], w)) == [ONE] * 3
    for wrapped in (jax.jit, jax.checkpoint, with_jvp, with_vjp):
        assert of(wrapped(times(5))) == [ONE] * 5, wrapped
    nested = jax.jit(lambda x, w: times(2)(times(3)(x, w), w))
    assert of(nested) == [ONE] * 5
    batched = jax.ShapeDtypeStruct((7, 4, 5), jnp.float32)
    assert of(lambda x, y: jnp.einsum('bij,bik->bjk', x, y), batched, batched) == [(7, 5, 4, 5)]


def test_the_dearest_branch_of_a_choice_counts():
    def function(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ w, lambda x: x @ w @ w, x)

    assert of(function) == [ONE, ONE]


def test_a_loop_of_unknown_length_counts_once_and_says_so():
    def function(x, w):
        return jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ w, x)

    assert of(function) == [ONE]
    assert unbounded(traced(jax.jit(function), X, W))
    assert not unbounded(traced(lambda x, w: x @ w, X, W))


def test_a_kernel_of_pallas_counts_for_each_place_of_its_grid():
    def kernel(x, w, out):
        out[...] = jnp.dot(x[...], w[...])

    rows, whole = pallas.BlockSpec((2, 4), lambda i: (i, 0)), pallas.BlockSpec((4, 4))
    call = pallas.pallas_call(
        kernel, jax.ShapeDtypeStruct((6, 4), jnp.float32),
        grid=3, in_specs=[rows, whole], out_specs=rows,
    )  # fmt: skip
    assert of(call) == [(1, 2, 4, 4)] * 3


def test_what_nothing_depends_on_and_what_is_known_is_not_counted():
    assert of(lambda x, w: (x @ w, x @ x.T)[0]) == [ONE]
    assert of(lambda x, w: (x @ w) * (x @ w)) == [ONE]
    assert of(lambda x, w: x @ w + jax.jit(lambda x, w: x @ w)(x, w)) == [ONE]
    loop = jax.jit(lambda x, w: jax.lax.fori_loop(0, 5, lambda _, x: x @ w, x))
    assert of(lambda x, w: loop(x, w) + loop(x, w)) == [ONE] * 5

    def two(x, w):
        return jax.lax.scan(lambda c, _: ((c[0] @ w, c[1] @ w), None), (x, x + 1), length=5)[0][0]

    assert of(two) == [ONE] * 5


def linear_of(layer, batch):
    shapes = layer.kernel_shape, (batch, *layer.in_shape)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return of(layer.linear, *arguments)


@pytest.mark.parametrize(
    ('kind', 'bottom'),
    [('lc', (2 * 2, 7, 3 * 3 * 2, 3)), ('conv', (1, 7 * 2 * 2, 3 * 3 * 2, 3))],
)
def test_products_are_those_of_each_layer(kind, bottom):
    network = feedforward((4, 4, 2), ((3, 3, 2), 5), 4, net=kind)
    assert [linear_of(layer, 7) for layer in network.layers] == [
        [bottom],
        [(1, 7, 2 * 2 * 3, 5)],
        [(1, 7, 5, 4)],
    ]


def test_multiply_adds_of_a_layer_of_ones_own_are_those_that_it_does():
    """Averaged over squares of places, a convolution still is one of all places."""
    inner = convolution(5, 3)((8, 6, 2))
    squares = inner._replace(
        out_shape=(4, 3, 5),
        linear=lambda kernel, x: (
            inner.linear(kernel, x).reshape(len(x), 4, 2, 3, 2, 5).mean((2, 4))
        ),
    )
    assert multiply_adds(squares) == multiply_adds(inner) == 8 * 6 * 3 * 3 * 2 * 5


LAYERS = [
    dense(7),
    convolution(5, 3),
    convolution(5, 3, 2),
    convolution(5, (3, 2), (1, 2), 'VALID'),
    convolution(5, 1, 2),
    locally_connected(5, 3),
    locally_connected(5, (3, 2), (2, 1), 'VALID'),
]


@pytest.mark.parametrize('block_bytes', [1, 3000, None])
@pytest.mark.parametrize('number', range(len(LAYERS)))
def test_a_layer_is_one_product_in_each_of_its_ways(number, block_bytes, monkeypatch):
    """In blocks or at once, whatever strides and padding."""
    if block_bytes:
        monkeypatch.setitem(BLOCK_BYTES, 'cpu', block_bytes)
    layer, batch = LAYERS[number]((9, 8, 3)), 2
    kernel, x, a = (
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in (layer.kernel_shape, (batch, *layer.in_shape), (batch, *layer.out_shape))
    )

    def gradient(x, a, kernel):
        return jax.vjp(lambda kernel: layer.linear(kernel, x), kernel)[1](a)

    places, *shape = linear_product(layer, batch)
    assert multiply_adds(layer) == places * math.prod(shape) // batch
    for function, arguments in (
        (layer.linear, (kernel, x)), (layer.transpose, (kernel, a)), (gradient, (x, a, kernel)),
    ):  # fmt: skip
        (work,) = works(traced(function, *arguments))
        assert work.product[0] == places
        assert math.prod(work.product) == places * math.prod(shape)
        assert work.moved == 4 * (kernel.size + x.size + a.size)
        patches = places * shape[0] * shape[1] if len(layer.bias_shape) > 1 else 0
        assert work.patches == 2 * 4 * patches


def test_grouped_convolutions_count_what_a_group_sees():
    x, w = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((6, 8, 4), (3, 2, 10)))

    def grouped(x, w, **groups):
        layout = ('NWC', 'WIO', 'NWC')
        return jax.lax.conv_general_dilated(x, w, (1,), 'VALID', dimension_numbers=layout, **groups)

    features = of(lambda x, w: grouped(x, w, feature_group_count=2), x, w)
    assert features == [(2, 6 * 6, 3 * 2, 5)]
    w = jax.ShapeDtypeStruct((3, 4, 10), jnp.float32)
    assert of(lambda x, w: grouped(x, w, batch_group_count=2), x, w) == [(2, 3 * 6, 3 * 4, 5)]
    assert flops(features) == 2 * 6 * 6 * 3 * 2 * 10
