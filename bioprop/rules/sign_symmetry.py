"""Sign-symmetry: feedback with the signs of the weights and magnitudes of its own.

    delta_{l-1} = B_l (s'_l * delta_l)        B_l = M_l * sign(W_l)

    usf     M_l = c_l, one number a layer
    brsf    M_l = |a draw like W_l's start|, anew for each minibatch
    frsf    the same, drawn once

c_l = sqrt(2 / (fan in + fan out)), the deviation of that draw, as in biotorch (Moskovitz et al.
2018 call it so); Liao, Leibo and Poggio (2016) have c_l = 1 and normalise. The mean of |a draw| is
sqrt(3)/2 of c_l. Fans are those that bioprop's layers start from: on strided layers they count what
an input really reaches, where PyTorch's ignore the stride. Nothing goes down where W_l is 0.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Rule, no_feedback

MEAN = math.sqrt(3) / 2  # of |a draw|, in deviations


def usf() -> Rule:
    """Uniform sign-concordant feedback."""

    def magnitudes(network, weights, context):
        return _deviations(network)

    return _sign_symmetric(no_feedback, magnitudes, magnitudes)


def brsf() -> Rule:
    """Batchwise random magnitudes; `feedback_kernels` has their mean."""

    def magnitudes(network, weights, context):
        return _draws(context.key, network)

    def mean(network, weights, context):
        return [MEAN * deviation for deviation in _deviations(network)]

    return _sign_symmetric(no_feedback, magnitudes, mean)


def frsf() -> Rule:
    """Fixed random magnitudes."""

    def init(key, network, forward):
        return (), (None, *_draws(key, network))

    def magnitudes(network, weights, context):
        return weights['fixed'][1:]

    return _sign_symmetric(init, magnitudes, magnitudes)


def with_true_magnitudes(problem):
    """The problem in which frsf's M_l is |W_l|: there it is backpropagation."""
    kernels = [params['kernel'] for params in problem.weights['forward']]
    return problem._replace(weights=problem.weights | {'fixed': (None, *map(jnp.abs, kernels[1:]))})


def with_one_magnitude(problem):
    """The problem in which every |W_l| is c_l: there usf is backpropagation."""
    forward = list(problem.weights['forward'])
    for l, deviation in enumerate(_deviations(problem.network), start=1):
        forward[l] = forward[l] | {'kernel': deviation * jnp.sign(forward[l]['kernel'])}
    return problem._replace(weights=problem.weights | {'forward': tuple(forward)})


def _sign_symmetric(init: Callable, magnitudes: Callable, shown: Callable) -> Rule:
    """magnitudes: (network, weights, context) -> (M_2, ..., M_L); shown is without a context."""

    def kernels(network, weights, magnitudes):
        signs = [jnp.sign(params['kernel']) for params in weights['forward'][1:]]
        pairs = zip(magnitudes, signs, strict=True)
        return (None, *(jnp.asarray(m, sign.dtype) * sign for m, sign in pairs))

    def signals(network, weights, states, context):
        found = kernels(network, weights, magnitudes(network, weights, context))
        return descend(network, found, states, context.error(states))

    def feedback_kernels(network, weights):
        return kernels(network, weights, shown(network, weights, None))

    return Rule(init, signals, feedback_kernels=feedback_kernels)


def _deviations(network):
    """c_2, ..., c_L."""
    return [math.sqrt(2 / sum(layer.fans)) for layer in network.layers[1:]]


def _draws(key, network):
    """|A draw| in the shapes of W_2, ..., W_L."""
    return [
        jnp.abs(layer.init_kernel(jax.random.fold_in(key, l)))
        for l, layer in enumerate(network.layers[1:], start=2)
    ]
