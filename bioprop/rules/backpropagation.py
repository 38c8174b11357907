"""Backpropagation (Rumelhart, Hinton and Williams 1986): the exact gradient.

delta_L = dL/dh_L,    delta_{l-1} = W_l^T (s'_l * delta_l)
"""

from bioprop.rules.base import Rule, no_feedback


def descend(network, kernels, states, delta):
    """(delta_1, ..., delta_L): the error delta of h_L, sent down through the given kernels."""
    deltas = [delta]
    for layer, kernel, h in zip(network.layers[:0:-1], kernels[:0:-1], states[:1:-1], strict=True):
        deltas.append(layer.transpose(kernel, layer.slope(h) * deltas[-1]))
    return tuple(reversed(deltas))


def bp() -> Rule:
    """Backpropagation; it has no hyperparameters."""

    def signals(network, weights, states, context):
        kernels = [params['kernel'] for params in weights['forward']]
        return descend(network, kernels, states, context.error(states))

    return Rule(no_feedback, signals)
