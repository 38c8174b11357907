"""Feedback alignment, layer by layer (Lillicrap et al. 2016) and direct (Nokland 2016).

    FA:   delta_{l-1} = B_l (s'_l * delta_l)        the chain rule with W_l^T replaced
    DFA:  delta_l     = B_l dL/dh_L                 the output error straight to every layer

The B are Glorot-uniform, fixed, and scaled by the hyperparameter `feedback_scale`.
"""

import math

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.random_matrix import draw, project

SCALE = (Hyperparameter('feedback_scale', 1.0, least=0),)  # of Glorot's
KINDS = ('stored', 'regenerated')


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


def dfa(feedback: str = 'stored') -> Rule:
    """Direct feedback alignment: B_l is dense, (units of layer l, outputs).

    With feedback='regenerated' B_l is drawn from its key again in every step, a block of units at a
    time: the same numbers, and no array of that size. The fixed weights are then the keys. Raises
    UserError for another kind.
    """
    if feedback not in KINDS:
        raise unknown('feedback', feedback, KINDS)
    stored = feedback == 'stored'

    def shapes(network):
        outputs = network.out_shape[0]
        return [(math.prod(layer.out_shape), outputs) for layer in network.layers[:-1]]

    def init(key, network, forward):
        keys = [jax.random.fold_in(key, index) for index in range(len(network.layers) - 1)]
        made = map(draw, keys, shapes(network)) if stored else keys
        return (), (*made, None)

    def signals(network, weights, states, context):
        error, hidden = context.error(states), []
        layers = zip(weights['fixed'][:-1], shapes(network), strict=True)
        for l, (b, shape) in enumerate(layers, start=1):
            delta = error @ b.T if stored else project(b, shape, error)
            hidden.append(context.hparam('feedback_scale', l) * delta.reshape(states[l].shape))
        return (*hidden, error)

    def feedback_kernels(network, weights):
        """B_{l-1} B_l^T on the connections of layer l, and B_{L-1} at the top (B_L = I).

        What W_l aligns with (Refinetti et al. 2021, Align, then memorise).
        """
        keys = weights['fixed'][:-1]
        paths = keys if stored else tuple(map(draw, keys, shapes(network)))
        paths = (*paths, jnp.eye(network.out_shape[0]))

        def kernel(layer, below, above):
            _, pullback = jax.vjp(
                lambda kernel: layer.linear(kernel, below.T.reshape(-1, *layer.in_shape)),
                jnp.zeros(layer.kernel_shape, below.dtype),
            )
            return pullback(above.T.reshape(-1, *layer.out_shape))[0]

        return (None, *map(kernel, network.layers[1:], paths[:-1], paths[1:]))

    return Rule(init, signals, hparams=SCALE, feedback_kernels=feedback_kernels)
