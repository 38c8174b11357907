"""Direct Kolen-Pollack (Webster, Choi and Ahn 2021): direct feedback that learns.

    delta_l = B_l e,   e = dL/dh_L,   l < L        dB_l = h_l (x) e

B_l, (units of layer l, outputs), descends what W_L would be taught if layer l stood below the top.
That of the last hidden layer takes the steps of W_L^T, and with one optimiser, rate and decay on
both sides comes to lie along it; below, B_l follows the best linear read-out of h_l. The authors'
code has another optimiser on each side, and so no such identity.
"""

import math

import jax

from bioprop.layers.base import glorot_uniform
from bioprop.rules.base import Rule, forward_updates


def direct_kolen_pollack() -> Rule:
    """Direct Kolen-Pollack; B_l is drawn like a dense layer's kernel."""

    def updates(network, weights, states, context):
        error = context.error(states)
        learned = [{'kernel': correlation(h, error)} for h in states[1:-1]]
        deltas = send(network, weights, states, context)
        forward = forward_updates(network, weights['forward'], states, deltas)
        return {'forward': forward, 'feedback': (*learned, None)}

    return Rule(init_direct, send, updates=updates)


def correlation(h, error):
    """The mean of h (x) error over the batch, (units, outputs)."""
    return h.reshape(len(h), -1).T @ error / len(h)


def init_direct(key, network, forward):
    """B_1, ..., B_{L-1} as feedback weights."""
    shapes = [(math.prod(layer.out_shape), network.out_shape[0]) for layer in network.layers]
    drawn = [
        {'kernel': glorot_uniform(jax.random.fold_in(key, l), shape, fans=shape)}
        for l, shape in enumerate(shapes[:-1])
    ]
    return (*drawn, None), ()


def send(network, weights, states, context):
    """B_l e for every hidden layer, and e at the top."""
    error = context.error(states)
    pairs = zip(weights['feedback'][:-1], states[1:-1], strict=True)
    hidden = [(error @ own['kernel'].T).reshape(h.shape) for own, h in pairs]
    return (*hidden, error)


def with_top_kernel(problem):
    """The problem of two layers in which B_1 is W_2: there it is backpropagation."""
    if len(problem.network.layers) != 2:
        return None
    feedback = ({'kernel': problem.weights['forward'][1]['kernel']}, None)
    return problem._replace(weights=problem.weights | {'feedback': feedback})
