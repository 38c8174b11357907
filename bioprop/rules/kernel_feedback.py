"""Feedback that has the shape of the weights, B_l like W_l, and goes down by the layer's transpose.

Learned feedback is a {'kernel'} for each layer but the lowest, which sends nothing down.
"""

import jax

from bioprop.rules.backpropagation import descend


def init_feedback(key, network, forward):
    """`init` of a rule: B_2, ..., B_L as feedback weights, each drawn like its W_l."""
    drawn = [
        {'kernel': layer.init_kernel(jax.random.fold_in(key, l))}
        for l, layer in enumerate(network.layers)
    ]
    return (None, *drawn[1:]), ()


def init_fixed_feedback(key, network, forward):
    """The same, as fixed weights."""
    return init_feedback(key, network, forward)[::-1]


def feedback_kernels(network, weights):
    """(None, B_2, ..., B_L)."""
    return tuple(own and own['kernel'] for own in weights['feedback'])


def descend_feedback(network, weights, states, context):
    """The error sent down through B_l in the place of W_l."""
    kernels = feedback_kernels(network, weights)
    return descend(network, kernels, states, context.error(states))


def with_forward_kernels(problem):
    """The problem in which B_l = W_l: there the signals are backpropagation's."""
    kernels = [{'kernel': params['kernel']} for params in problem.weights['forward']]
    return problem._replace(weights=problem.weights | {'feedback': (None, *kernels[1:])})
