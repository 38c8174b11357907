"""Kolen-Pollack: feedback that takes the same steps as the weights (Kolen and Pollack 1994).

    delta_{l-1} = B_l (s'_l * delta_l)        dB_l = dW_l

Where both sides have one optimiser, one rate and one decoupled decay, and take their turns together
(schedule=parallel), W_l - B_l shrinks by (1 - lr * weight_decay) in every step, whatever is
learned: B_l comes to lie along W_l, and the rule to be backpropagation (Akrout et al. 2019,
equations 16 and 17). The time that this takes is 1 / (lr * weight_decay) steps.
"""

from bioprop.rules.base import Rule, forward_updates
from bioprop.rules.kernel_feedback import descend_feedback, feedback_kernels, init_feedback


def kolen_pollack() -> Rule:
    """Kolen-Pollack; B_l has the shape of W_l, is drawn like it and used through the transpose."""

    def updates(network, weights, states, context):
        deltas = descend_feedback(network, weights, states, context)
        forward = forward_updates(network, weights['forward'], states, deltas)
        feedback = (None, *({'kernel': update['kernel']} for update in forward[1:]))
        return {'forward': forward, 'feedback': feedback}

    return Rule(init_feedback, descend_feedback, updates=updates, feedback_kernels=feedback_kernels)
