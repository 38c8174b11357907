"""Kolen-Pollack: feedback that takes the same steps as the weights (Kolen and Pollack 1994).

    delta_{l-1} = B_l (s'_l * delta_l)        dB_l = dW_l

Where both sides have one optimiser, one rate and one decoupled decay, and take their turns together
(schedule=parallel), W_l - B_l shrinks by (1 - lr * weight_decay) in every step, whatever is
learned: B_l comes to lie along W_l, and the rule to be backpropagation (Akrout et al. 2019,
equations 16 and 17). The time that this takes is 1 / (lr * weight_decay) steps.
"""

import jax

from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Rule, forward_updates


def kolen_pollack() -> Rule:
    """Kolen-Pollack; B_l has the shape of W_l, is drawn like it and used through the transpose."""

    def init(key, network, forward):
        drawn = [
            {'kernel': layer.init_kernel(jax.random.fold_in(key, l))}
            for l, layer in enumerate(network.layers)
        ]
        return (None, *drawn[1:]), ()

    def feedback_kernels(network, weights):
        return tuple(own and own['kernel'] for own in weights['feedback'])

    def signals(network, weights, states, context):
        kernels = feedback_kernels(network, weights)
        return descend(network, kernels, states, context.error(states))

    def updates(network, weights, states, context):
        deltas = signals(network, weights, states, context)
        forward = forward_updates(network, weights['forward'], states, deltas)
        feedback = (None, *({'kernel': update['kernel']} for update in forward[1:]))
        return {'forward': forward, 'feedback': feedback}

    return Rule(init, signals, updates=updates, feedback_kernels=feedback_kernels)


def with_forward_kernels(problem):
    """The problem in which B_l = W_l: there the rule is backpropagation."""
    kernels = [{'kernel': params['kernel']} for params in problem.weights['forward']]
    return problem._replace(weights=problem.weights | {'feedback': (None, *kernels[1:])})
