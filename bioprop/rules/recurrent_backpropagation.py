"""Recurrent backpropagation (Almeida 1987, Pineda 1987): the gradient at a fixed point.

The net relaxes (`bioprop.rules.relaxation`), and an adjoint net relaxes after it, from 0:

    lambda_L = e + gamma F_L(V_L, s'_{L-1} * lambda_{L-1}),   e = dL/dh_L
    lambda_l = T_{l+1}(W_{l+1}, s'_{l+1} * lambda_{l+1}) + gamma F_l(V_l, s'_{l-1} * lambda_{l-1})

F and T are the layers' `linear` and `transpose`; the second term, for l > 1, is the adjoint of the
feedback into h_{l-1}, and goes up. W_l learns as in backpropagation, by lambda_l, and V_l by

    gamma (s'_{l-1} * lambda_{l-1}) (x) h_l

which is added to W_l's where V = W. As gamma goes to 0 it is backpropagation.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Rule, forward_updates, no_feedback
from bioprop.rules.kernel_feedback import init_feedback
from bioprop.rules.relaxation import GAMMA, end_of, free_phase


def recurrent_backpropagation(
    tied: bool = True, free_steps: int = 20, adjoint_steps: int = 20
) -> Rule:
    """Recurrent backpropagation; steps are sweeps. Untied, V_l is drawn like W_l and learns."""

    def kernels_of(weights):
        own = weights['forward'] if tied else weights['feedback']
        return tuple(params and params['kernel'] for params in own)

    def infer(network, weights, context):
        return free_phase(network, weights, context, free_steps, kernels=kernels_of(weights))

    def updates(network, weights, states, context):
        gamma, kernels = context.hparam('gamma', len(network.layers)), kernels_of(weights)
        start = tuple(map(jnp.zeros_like, states[1:]))
        deltas = adjoint(network, weights, states, context, start, adjoint_steps)
        forward = forward_updates(network, weights['forward'], states, deltas)
        down = [
            _downward(layer, kernel, h, gamma * below.slope(x) * delta)
            for layer, below, kernel, x, h, delta in zip(
                network.layers[1:], network.layers, kernels[1:], states[1:], states[2:], deltas,
                strict=False,
            )
        ]  # fmt: skip
        if not tied:
            return {'forward': forward, 'feedback': (None, *({'kernel': each} for each in down))}
        both = [
            update | {'kernel': update['kernel'] + each}
            for update, each in zip(forward[1:], down, strict=True)
        ]
        return {'forward': (forward[0], *both), 'feedback': ()}

    def adjoint(network, weights, states, context, start, steps):
        """lambda_1, ..., lambda_L after so many sweeps from the given ones."""
        layers, top = network.layers, len(network.layers)
        forward, kernels = weights['forward'], kernels_of(weights)
        gamma, error = context.hparam('gamma', top), context.error(states)

        def sweep(deltas, _):
            taught = [
                layer.slope(h) * delta
                for layer, h, delta in zip(layers, states[1:], deltas, strict=True)
            ]
            found = [
                error if l == top else layers[l].transpose(forward[l]['kernel'], taught[l])
                for l in range(1, top + 1)
            ]
            for l in range(2, top + 1):
                found[l - 1] += gamma * layers[l - 1].linear(kernels[l - 1], taught[l - 2])
            return tuple(found), None

        return jax.lax.scan(sweep, start, None, length=steps)[0]

    def phases(network, weights, states, context):
        kernels, found = kernels_of(weights), (network, weights, states, context)
        deltas = adjoint(*found, tuple(map(jnp.zeros_like, states[1:])), adjoint_steps)
        return {
            'free': end_of(*found, 0, kernels=kernels),
            'taught': (deltas, adjoint(*found, deltas, 1)),
        }

    init = no_feedback if tied else init_feedback
    return Rule(init, updates=updates, infer=infer, phases=phases, hparams=(GAMMA,))


def _downward(layer, kernel, h, error):
    """The mean over the batch of error (x) h, for a kernel that h goes down through."""
    _, pullback = jax.vjp(lambda kernel: layer.transpose(kernel, h), kernel)
    return pullback(error)[0] / len(h)
