"""Errors as the differences of pairs of states: dual propagation, and early inference.

    early_inference (Bengio and Fischer 2015)
        t_L = h_L - beta e,   t_l = s_l(a_l + W_{l+1}^T (t_{l+1} - h_{l+1})),   e = dL/dh_L
        dW_l = (h_l - t_l) h_{l-1} / beta, or centred, of -beta and beta:
        dW_l = (t_l^- - t_l^+) h_{l-1} / (2 beta)

    dual_propagation (Hoier, Staudt and Zach 2023, Hoier and Zach 2024)
        h_L^+ = h_L - (1 - alpha) beta e        h_l^+ = s_l(a_l + (1 - alpha) W_{l+1}^T d_{l+1})
        h_L^- = h_L + alpha beta e              h_l^- = s_l(a_l - alpha W_{l+1}^T d_{l+1})
        d_l = h_l^+ - h_l^-,   m_l = alpha h_l^+ + (1 - alpha) h_l^-,   m_0 = h_0
        dW_l = - d_l m_{l-1} / beta

One pass down from the forward pass. Both tend to backpropagation with beta, by its square where
centred or alpha = 1/2, else by its first power; no slope is used. Early inference is dual
propagation with alpha = 0 and h_{l-1} for m_{l-1}; its paper has no experiment.
"""

from bioprop.rules.base import Hyperparameter, Rule, correlations, no_feedback

BETA = Hyperparameter('beta', 0.1, 0.01, 1.0, log=True, least=0)
ALPHA = Hyperparameter('alpha', 0.5, least=0)


def early_inference(centred: bool = True) -> Rule:
    """Early inference, of one kick at the output or of two."""

    def targets(network, weights, states, kick):
        """t_1, ..., t_L for t_L = h_L - kick."""
        found, move = [states[-1] - kick], -kick
        for l in range(len(network.layers) - 1, 0, -1):
            layer, above = network.layers[l - 1], network.layers[l]
            back = above.transpose(weights['forward'][l]['kernel'], move)
            found.append(layer.activation(potential(network, weights, states, l) + back))
            move = found[-1] - states[l]
        return found[::-1]

    def updates(network, weights, states, context):
        beta = context.hparam('beta', len(network.layers))
        kick = beta * context.error(states)
        down = targets(network, weights, states, kick)
        away = targets(network, weights, states, -kick) if centred else states[1:]
        width = 2 * beta if centred else beta
        errors = [(minus - plus) / width for minus, plus in zip(away, down, strict=True)]
        forward = correlations(network, weights['forward'], states[:-1], errors)
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates, hparams=(BETA,))


def dual_propagation() -> Rule:
    """Dual propagation; alpha says how the kick is shared between the two."""

    def updates(network, weights, states, context):
        top = len(network.layers)
        beta, alpha = (context.hparam(name, top) for name in ('beta', 'alpha'))
        gap, means, errors = -beta * context.error(states), [], []
        for l in range(top, 0, -1):
            errors.append(-gap / beta)
            if l > 1:
                layer = network.layers[l - 2]
                a = potential(network, weights, states, l - 1)
                back = network.layers[l - 1].transpose(weights['forward'][l - 1]['kernel'], gap)
                plus = layer.activation(a + (1 - alpha) * back)
                minus = layer.activation(a - alpha * back)
                means.append(alpha * plus + (1 - alpha) * minus)
                gap = plus - minus
        inputs = [states[0], *means[::-1]]
        forward = correlations(network, weights['forward'], inputs, errors[::-1])
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates, hparams=(BETA, ALPHA))


def potential(network, weights, states, l):
    """a_l of the forward pass."""
    return network.layers[l - 1].potential(weights['forward'][l - 1], states[l - 1])
