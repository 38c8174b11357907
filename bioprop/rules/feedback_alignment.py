"""Feedback alignment (Lillicrap et al. 2016): the chain rule with W_l^T replaced.

    delta_{l-1} = B_l (s'_l * delta_l)

The B are Glorot-uniform, fixed, and scaled by the hyperparameter `feedback_scale`.
"""

import jax

from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Hyperparameter, Rule

SCALE = (Hyperparameter('feedback_scale', 1.0, least=0),)  # of Glorot's


def fa() -> Rule:
    """Feedback alignment: B_l has the shape of W_l and is used through the layer's transpose."""

    def init(key, network, forward):
        kernels = [
            layer.init_kernel(jax.random.fold_in(key, index))
            for index, layer in enumerate(network.layers)
        ]
        return (), (None, *kernels[1:])

    def signals(network, weights, states, context):
        kernels = [
            None if kernel is None else context.hparam('feedback_scale', l) * kernel
            for l, kernel in enumerate(weights['fixed'], start=1)
        ]
        return descend(network, kernels, states, context.error(states))

    def feedback_kernels(network, weights):
        return weights['fixed']

    return Rule(init, signals, hparams=SCALE, feedback_kernels=feedback_kernels)
