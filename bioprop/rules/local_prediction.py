"""Local prediction: a read-out at every hidden layer (Nokland and Eidnes 2019, `pred`).

    z_l = C_l h_l + c_l        delta_l = C_l^T dL/dz_l,   l < L        delta_L = dL/dh_L

Each read-out (C_l, c_l) descends the task's loss of its own z_l; nothing comes down from above.
Greedy training of all layers at once (Belilovsky et al. 2020) and Mono-Forward (Gong 2025, without
biases) are the same rule.
"""

import jax
import jax.numpy as jnp

from bioprop.layers import dense
from bioprop.rules.base import Rule


def local_prediction() -> Rule:
    """Local prediction; read-outs begin at 0, as in the authors' code."""

    def readouts(network):
        """Those of the hidden layers, as layers."""
        top = dense(network.out_shape[0], 'linear')
        return [top(layer.out_shape) for layer in network.layers[:-1]]

    def init(key, network, forward):
        made = (layer.init(key) for layer in readouts(network))
        return (*(jax.tree.map(jnp.zeros_like, params) for params in made), None), ()

    def logits(network, weights, states):
        """z_1, ..., z_{L-1}."""
        triples = zip(readouts(network), weights['feedback'][:-1], states[1:-1], strict=True)
        return [readout.apply(params, h) for readout, params, h in triples]

    def signals(network, weights, states, context):
        label = context.batch['label']
        hidden = [
            readout.transpose(params['kernel'], context.loss.error(z, label))
            for readout, params, z in zip(
                readouts(network),
                weights['feedback'][:-1],
                logits(network, weights, states),
                strict=True,
            )
        ]
        return (*hidden, context.error(states))

    def feedback_loss(network, weights, states, context):
        """The mean loss of each read-out, summed over layers."""
        label = context.batch['label']
        found = logits(network, weights, jax.lax.stop_gradient(states))
        return sum((jnp.mean(context.loss.value(z, label)) for z in found), 0.0)

    return Rule(init, signals, feedback_loss)


def with_top_layer(problem):
    """The problem of two layers whose read-out is the top layer: there it is backpropagation."""
    if len(problem.network.layers) != 2:
        return None
    feedback = (problem.weights['forward'][1], None)
    return problem._replace(weights=problem.weights | {'feedback': feedback})
