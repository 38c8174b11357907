"""Inverses: g_l maps h_l back to h_{l-1} through V_l, shaped like W_l, by the layer's transpose T.

    after    g_l(y) = s_{l-1}(T(V_l, y) + c_l)      Lee et al. 2015 and Bartunov et al. 2018
    before   g_l(y) = T(V_l, s_l(y)) + c_l          Ernoult et al. 2022
    matched  g_l(y) = T(V_l, phi_l(y)) + c_l        phi' = the slope of s_l as a function of h_l

The Jacobian of g_l at h_l should be the transpose of f_l's. With V_l = W_l that holds for the last
alone, whatever the example: targets of a small step are then backpropagation's signals, along
smooth activations. (Our derivation. Not for relu: a silent unit whose target lies above 0 passes
feedback that backpropagation blocks, however small the step.)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from bioprop.errors import UserError, unknown
from bioprop.layers import add_bias


class Inverse(NamedTuple):
    """g_l as a function, (network, weights, l, y) -> x, and its differences, g_l(y) - g_l(x)."""

    apply: Callable
    difference: Callable  # (network, weights, l, y, x)


def of(apply: Callable) -> Inverse:
    """Any g_l; it is applied twice for a difference."""

    def difference(network, weights, l, y, x):
        return apply(network, weights, l, y) - apply(network, weights, l, x)

    return Inverse(apply, difference)


def _after(network, weights, l, y):
    params = weights['feedback'][l - 1]
    a = network.layers[l - 1].transpose(params['kernel'], y)
    return network.layers[l - 2].activation(add_bias(a, params['bias']))


def _behind(inner: Callable) -> Inverse:
    """T(V_l, inner(layer, y)) + c_l, whose differences go through V_l once."""

    def apply(network, weights, l, y):
        layer, params = network.layers[l - 1], weights['feedback'][l - 1]
        return add_bias(layer.transpose(params['kernel'], inner(layer, y)), params['bias'])

    def difference(network, weights, l, y, x):
        layer, params = network.layers[l - 1], weights['feedback'][l - 1]
        return layer.transpose(params['kernel'], inner(layer, y) - inner(layer, x))

    return Inverse(apply, difference)


INVERSES = {
    'after': of(_after),
    'before': _behind(lambda layer, y: layer.activation(y)),
    'matched': _behind(lambda layer, y: layer.integral(y)),
}


def named(inverse: str | Callable) -> Inverse:
    """That of a name, or of a function of one's own. Raises UserError for another name."""
    if callable(inverse):
        return of(inverse)
    if inverse not in INVERSES:
        raise unknown('inverse', inverse, INVERSES)
    return INVERSES[inverse]


def init_inverses(key, network, top):
    """V_l, shaped and initialised like W_l, and c_l, shaped like b_{l-1}, for l = 2..top.

    Raises UserError for a network without a hidden layer: it has nothing to set targets for.
    """
    if len(network.layers) < 2:
        raise UserError('target propagation needs at least one hidden layer')
    feedback = [None] * len(network.layers)
    for l in range(2, top + 1):
        feedback[l - 1] = {
            'kernel': network.layers[l - 1].init_kernel(jax.random.fold_in(key, l)),
            'bias': network.layers[l - 2].init_bias(),
        }
    return tuple(feedback)


def inverse_kernels(network, weights):
    """V_l in the shape of W_l; of V_L the part that the outputs go through."""
    return tuple(
        params and params['kernel'][..., : layer.kernel_shape[-1]]
        for layer, params in zip(network.layers, weights['feedback'], strict=True)
    )
