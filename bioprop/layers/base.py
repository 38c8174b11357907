"""The layer contract: pure functions on one stage of a network.

A constructor such as `dense(256)` describes a layer; calling the description with the shape of
its input binds it: `dense(256)((28, 28, 1))` is a `Layer`. The shapes are static because a
transpose must know them. All arrays carry the batch as their first axis.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bioprop.errors import UserError

Shape = tuple[int, ...]
Params = dict[str, jax.Array]  # {'kernel', 'bias'}


class Activation(NamedTuple):
    """An elementwise nonlinearity h = function(a), with its slope written in terms of h."""

    function: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array], jax.Array]
    integral: Callable[[jax.Array], jax.Array]  # of the slope over h, up to a constant


LIF_HIGHEST = 0.82  # rate of a `lif` unit (Samadi, Lillicrap and Tweed 2017)
LEAK = 0.01  # slope of leaky_relu below 0
ACTIVATIONS = {
    'tanh': Activation(jnp.tanh, lambda h: 1 - jnp.square(h), lambda h: h - h**3 / 3),
    'relu': Activation(jax.nn.relu, lambda h: (h > 0).astype(h.dtype), jax.nn.relu),
    'linear': Activation(lambda a: a, jnp.ones_like, lambda h: h),
    'sigmoid': Activation(jax.nn.sigmoid, lambda h: h * (1 - h), lambda h: h**2 / 2 - h**3 / 3),
    'hard_sigmoid': Activation(  # clipped to [0, 1], as in equilibrium propagation
        lambda a: jnp.clip(a, 0, 1),
        lambda h: ((h > 0) & (h < 1)).astype(h.dtype),
        lambda h: 1 - jax.nn.relu(1 - jax.nn.relu(h)),
    ),
    'leaky_relu': Activation(
        lambda a: jax.nn.leaky_relu(a, LEAK),
        lambda h: jnp.where(h > 0, 1, LEAK).astype(h.dtype),
        lambda h: jax.nn.leaky_relu(h, LEAK),
    ),
    'elu': Activation(
        jax.nn.elu,
        lambda h: jnp.where(h > 0, 1, h + 1),
        lambda h: h + jnp.square(jnp.minimum(h, 0)) / 2,
    ),
    'lif': Activation(  # the rate of a leaky integrate-and-fire unit: its smooth fit
        lambda a: LIF_HIGHEST * jnp.tanh(jax.nn.relu(a) / LIF_HIGHEST),
        lambda h: jnp.where(h > 0, 1 - jnp.square(h / LIF_HIGHEST), 0).astype(h.dtype),
        lambda h: jax.nn.relu(h) - jax.nn.relu(h) ** 3 / (3 * LIF_HIGHEST**2),
    ),
    'sign': Activation(  # of threshold units; that of 0 is -1
        lambda a: jnp.where(a > 0, 1, -1).astype(a.dtype), jnp.zeros_like, jnp.zeros_like
    ),
}


# Of units that compete, over the last axis: none has a slope of its own.
COMPETING = {
    'softmax': lambda a: math.sqrt(a.shape[-1]) * jax.nn.softmax(5 * a, axis=-1),
    'triangle': lambda a: jax.nn.relu(a - jnp.mean(a, axis=-1, keepdims=True)),
}


def _no_slope(h):
    raise UserError('units that compete (softmax, triangle) have no slope: their rules use none')


ACTIVATIONS |= {name: Activation(f, _no_slope, _no_slope) for name, f in COMPETING.items()}


class Layer(NamedTuple):
    """A stage h = activation(linear(kernel, x) + bias), bound to its shapes.

    `transpose` is the exact transpose of `linear` for whatever kernel it is given, and so serves
    every kind of feedback: backpropagation gives it W, feedback alignment B, an inverse V.
    """

    in_shape: Shape  # of one example
    out_shape: Shape
    kernel_shape: Shape
    bias_shape: Shape
    fans: tuple[int, float]  # into a unit and out of an input, for Glorot's initialisation
    linear: Callable[[jax.Array, jax.Array], jax.Array]  # (kernel, x) -> a
    transpose: Callable[[jax.Array, jax.Array], jax.Array]  # (kernel, a) -> x
    activation: Callable[[jax.Array], jax.Array]  # a -> h
    slope: Callable[[jax.Array], jax.Array]  # h -> dh/da
    integral: Callable[[jax.Array], jax.Array]  # h -> the integral of slope over h

    def init(self, key: jax.Array) -> Params:
        """Glorot-uniform kernel and zero bias."""
        return {'kernel': self.init_kernel(key), 'bias': self.init_bias()}

    def init_kernel(self, key: jax.Array) -> jax.Array:
        """Glorot-uniform."""
        return glorot_uniform(key, self.kernel_shape, self.fans)

    def init_bias(self) -> jax.Array:
        """Zeros."""
        return jnp.zeros(self.bias_shape)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """f(x): (batch, *in_shape) -> (batch, *out_shape)."""
        return self.activation(self.potential(params, x))

    def potential(self, params: Params, x: jax.Array) -> jax.Array:
        """a = linear(kernel, x) + bias, what the activation is given."""
        return add_bias(self.linear(params['kernel'], x), params['bias'])

    def update(self, params: Params, x: jax.Array, h: jax.Array, delta: jax.Array) -> Params:
        """The local update: the VJP of `apply` at (params, x), applied to delta / batch size.

        h is apply(params, x), already known; delta has its shape. The division comes last, so that
        slope * delta is the same array that a rule sends further down.
        """
        return self.correlation(params, x, self.slope(h) * delta)

    def correlation(self, params: Params, x: jax.Array, error: jax.Array) -> Params:
        """The VJP of `potential` at (params, x), applied to error / batch size."""
        _, pullback = jax.vjp(lambda p: self.potential(p, x), params)
        return jax.tree.map(lambda update: update / len(x), pullback(error)[0])


def input_axes(params: Params) -> tuple[int, ...]:
    """The axes of a kernel over which the inputs of a unit lie."""
    axes = params['kernel'].ndim
    own_fields = axes == params['bias'].ndim + 1  # dense, or a kernel for every place
    return (axes - 2,) if own_fields else tuple(range(axes - 1))


def glorot_uniform(key: jax.Array, shape: Shape, fans: tuple[int, float]) -> jax.Array:
    """Uniform within sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    limit = math.sqrt(6 / sum(fans))
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def add_bias(a: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias whose axes are the last ones of `a`."""
    return a + jnp.broadcast_to(bias, a.shape)
