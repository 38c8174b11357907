"""Segregated dendrites (Guerguiev, Lillicrap and Richards 2017), as rates.

Feedback from the output reaches apical dendrites, apart from the soma. Their plateau potential of a
forward phase, in which the output is o, is compared with that of a target phase, in which it is y:

    delta_l = scale (sigma(gain B_l o) - sigma(gain B_l y)),   l < L        delta_L = dL/dh_L

sigma is logistic, and B_l normal, fixed, (units of layer l, outputs). This is the limit of many
spikes, and what the authors' code computes by default. As gain goes to 0 it is direct feedback
alignment by scale gain / 4, where o - y is the error.
"""

import math

import jax

from bioprop.rules.base import Hyperparameter, Rule

GAIN = Hyperparameter('gain', 1.0, 0.1, 3.0, log=True, least=0)
SCALE = Hyperparameter('scale', 4.0, least=0)


def segregated_dendrites() -> Rule:
    """Segregated dendrites."""

    def init(key, network, forward):
        drawn = [
            jax.random.normal(
                jax.random.fold_in(key, l), (math.prod(layer.out_shape), *network.out_shape)
            )
            for l, layer in enumerate(network.layers[:-1])
        ]
        return (), (*drawn, None)

    def signals(network, weights, states, context):
        output = context.loss.output(states[-1])
        right = context.loss.optimum(states[-1], context.batch['label'])

        def plateau(l, top):
            apical = context.hparam('gain', l) * top @ weights['fixed'][l - 1].T
            return jax.nn.sigmoid(apical).reshape(states[l].shape)

        hidden = [
            context.hparam('scale', l) * (plateau(l, output) - plateau(l, right))
            for l in range(1, len(network.layers))
        ]
        return (*hidden, context.error(states))

    return Rule(init, signals, hparams=(GAIN, SCALE))
