"""Deep feedback control (Meulemans et al. 2021), its steady state by one solve (DFC-SSA).

With a = the pre-activations, J_l = dh_L/da_l, e = dL/dh_L, Q_L = 1 and Q_l, (units, outputs):

    u = (sum_l J_l Q_l + leak)^{-1} (-target e)              the controller, per example
    a_l = W_l r_{l-1} + b_l,   r_l = s_l(a_l + Q_l u)        the controlled pass, r_0 = h_0
    dW_l = (s_l(a_l) - r_l) r_{l-1} / target

With a large leak, leak times the update of hidden layers is direct feedback alignment's, and with
Q_l = (dh_L/dh_l)^T backpropagation's; Q_l = J_l^T makes Q u itself -target dL/da, and the update
has the slope twice. Without a leak, and for Q_l = J_l^T M, Q u is the least move of all a that
moves the logits by -target e.

The authors train Q on the noise of their dynamics. Here it descends the loss of DDTP-linear
(`bioprop.rules.direct_targets`) with the noise upon a_l, which rests at E[J^T] E[J J^T]^-1, too:
that combination is ours. With trained=False Q is fixed, the product of the W^T above it at the
start, as in their variant.
"""

import math

import jax
import jax.numpy as jnp

from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.direct_kolen_pollack import init_direct
from bioprop.rules.direct_targets import SIGMA, linear_loss
from bioprop.rules.gauss_newton_targets import jacobians
from bioprop.rules.linear_algebra import solve

LEAK = Hyperparameter('leak', 1e-2, 1e-4, 1.0, log=True, least=0)
TARGET = Hyperparameter('target', 0.1, 1e-3, 1.0, log=True, least=0)


def dfc(trained: bool = True) -> Rule:
    """Deep feedback control in its steady state; one pass down for each output."""

    def init(key, network, forward):
        if trained:
            return init_direct(key, network, forward)
        return (), (*paths(network, forward), None)

    def controls(network, weights, states, context):
        """Q_l u for l = 1..L, in the shapes of a_l."""
        top, error = len(network.layers), context.error(states)
        kernels = [own['kernel'] for own in weights['feedback'][:-1]] or weights['fixed'][:-1]
        loop = (1 + context.hparam('leak', top)) * jnp.eye(error.shape[-1], dtype=error.dtype)[None]
        for kernel, rows in zip(kernels, by_potential(network, weights, states), strict=True):
            loop = loop + rows @ kernel
        u = solve(loop, -context.hparam('target', top) * error)
        pairs = zip(kernels, states[1:-1], strict=True)
        return [*((u @ kernel.T).reshape(h.shape) for kernel, h in pairs), u]

    def updates(network, weights, states, context):
        r, forward = states[0], []
        moves = controls(network, weights, states, context)
        for layer, params, move in zip(network.layers, weights['forward'], moves, strict=True):
            a = layer.potential(params, r)
            controlled = layer.activation(a + move)
            error = (layer.activation(a) - controlled) / context.hparam('target', len(moves))
            forward.append(layer.correlation(params, r, error))
            r = controlled
        feedback = learned(network, weights, states, context) if trained else ()
        return {'forward': tuple(forward), 'feedback': feedback}

    def learned(network, weights, states, context):
        """The updates of Q, by noise upon the potentials."""

        def push(l, noise):
            layer, params = network.layers[l - 1], weights['forward'][l - 1]
            return layer.activation(layer.potential(params, states[l - 1]) + noise)

        def loss(feedback):
            return linear_loss(network, weights | {'feedback': feedback}, states, context, push)

        return jax.grad(loss)(weights['feedback'])

    return Rule(init, updates=updates, hparams=(LEAK, TARGET, *((SIGMA,) if trained else ())))


def by_potential(network, weights, states) -> list[jax.Array]:
    """J_l = dh_L/da_l of every example, (batch, outputs, units), for l = 1..L-1."""
    found = jacobians(network, weights['forward'], states)[:-1]
    triples = zip(found, network.layers, states[1:], strict=False)
    scaled = [jacobian * layer.slope(h)[:, None] for jacobian, layer, h in triples]
    return [rows.reshape(*rows.shape[:2], -1) for rows in scaled]


def paths(network, forward) -> list[jax.Array]:
    """The product of all W^T from the outputs down to h_l, (units, outputs), for l = 1..L-1."""
    path = jnp.eye(network.out_shape[0])
    found = []
    for layer, params in zip(network.layers[:0:-1], forward[:0:-1], strict=True):
        path = layer.transpose(params['kernel'], path.reshape(-1, *layer.out_shape))
        found.append(path.reshape(-1, math.prod(layer.in_shape)).T)
    return found[::-1]
