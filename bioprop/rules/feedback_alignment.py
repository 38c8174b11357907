"""Feedback alignment, layer by layer (Lillicrap et al. 2016) and direct (Nokland 2016).

    FA:   delta_{l-1} = B_l (s'_l * delta_l)        the chain rule with W_l^T replaced
    DFA:  delta_l     = B_l dL/dh_L                 the output error straight to every layer

The B are Glorot-uniform, fixed, and scaled by the hyperparameter `feedback_scale`.
"""

import jax

from bioprop.layers import dense
from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Rule


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

    return Rule(init, signals, hparams=('feedback_scale',))


def dfa() -> Rule:
    """Direct feedback alignment: B_l is dense, (units of layer l, outputs)."""

    def paths(network):
        """One dense layer for each hidden layer, from its units to the outputs."""
        outputs = network.out_shape[0]
        return [dense(outputs)(layer.out_shape) for layer in network.layers[:-1]]

    def init(key, network, forward):
        kernels = [
            path.init_kernel(jax.random.fold_in(key, index))
            for index, path in enumerate(paths(network))
        ]
        return (), (*kernels, None)

    def signals(network, weights, states, context):
        error = context.error(states)
        hidden = [
            context.hparam('feedback_scale', l) * path.transpose(kernel, error)
            for l, (path, kernel) in enumerate(
                zip(paths(network), weights['fixed'][:-1], strict=True), start=1
            )
        ]
        return (*hidden, error)

    return Rule(init, signals, hparams=('feedback_scale',))
