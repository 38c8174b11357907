"""Segregated dendrites (Guerguiev, Lillicrap and Richards 2017).

Feedback from the output reaches apical dendrites, apart from the soma. Their plateau potential of a
forward phase, in which the output is o, is compared with that of a target phase, in which it is y:

    delta_l = scale (sigma(gain B_l o) - sigma(gain B_l y)),   l < L        delta_L = dL/dh_L

sigma is logistic, and B_l normal, fixed, (units of layer l, outputs). This is the limit of many
spikes, and what the authors' code computes by default. As gain goes to 0 it is direct feedback
alignment by scale gain / 4, where o - y is the error.

With spiking=True units are Poisson neurons over time (`bioprop.rules.poisson`). For the means over
a phase of potentials s and somata C, forward and taught, and the output's rates r:

    dW_l = - scale k_B (sigma(gain B_l s_L^t) - sigma(gain B_l s_L^f)) sigma'(C_l^f) s_{l-1}^f
    dW_L = - scale k_D / PHI (r_L^t - PHI sigma(C_L^f)) sigma'(C_L^f) s_{L-1}^f

and the output is read by its mean potential C_L. Phases end at fixed times and begin from rest; the
authors' last a random time, and carry their states on.
"""

import math

import jax

from bioprop.errors import UserError
from bioprop.rules.base import Hyperparameter, Rule, correlations
from bioprop.rules.poisson import COUPLING, HERTZ, LEAK, PHI, phase

GAIN = Hyperparameter('gain', 1.0, 0.1, 3.0, log=True, least=0)
SCALE = Hyperparameter('scale', 4.0, least=0)
PASSED = COUPLING / (LEAK + COUPLING)  # k_B and k_D: the share of a dendrite's voltage in the soma
SPREAD = 20.0  # of Glorot's kernels, for somata of some 3, as the authors'


def segregated_dendrites(spiking: bool = False, steps: int = 50, settle: int = 30) -> Rule:
    """Segregated dendrites; a phase has so many steps of a millisecond, less those to settle.

    Raises UserError for phases that end before they have settled.
    """
    if not 0 <= settle < steps:
        raise UserError(f'settle must be at least 0 and below steps = {steps}, not {settle}')
    return _of_spikes(steps, settle) if spiking else _of_rates()


def _init(key, network, forward):
    drawn = [
        jax.random.normal(
            jax.random.fold_in(key, l), (math.prod(layer.out_shape), *network.out_shape)
        )
        for l, layer in enumerate(network.layers[:-1])
    ]
    return (), (*drawn, None)


def _plateau(weights, context, l, output, shape):
    apical = context.hparam('gain', l) * output @ weights['fixed'][l - 1].T
    return jax.nn.sigmoid(apical).reshape(shape)


def _of_rates() -> Rule:
    def signals(network, weights, states, context):
        output = context.loss.output(states[-1])
        right = context.loss.optimum(states[-1], context.batch['label'])
        hidden = []
        for l, h in enumerate(states[1:-1], start=1):
            free, taught = (_plateau(weights, context, l, o, h.shape) for o in (output, right))
            hidden.append(context.hparam('scale', l) * (free - taught))
        return (*hidden, context.error(states))

    return Rule(_init, signals, hparams=(GAIN, SCALE))


def _of_spikes(steps: int, settle: int) -> Rule:
    def infer(network, weights, context):
        free = phase(network, weights['forward'], context, steps, settle)
        return context.batch['image'], *free.potentials[1:-1], free.somata[-1]

    def updates(network, weights, states, context):
        free, taught = (
            phase(network, weights['forward'], context, steps, settle, told)
            for told in (False, True)
        )
        errors = []
        for l, soma in enumerate(free.somata, start=1):
            if l < len(network.layers):
                before, after = (
                    _plateau(weights, context, l, each.potentials[-1], soma.shape)
                    for each in (free, taught)
                )
            else:
                before, after = jax.nn.sigmoid(soma), taught.rates[-1] / PHI
            sigma = jax.nn.sigmoid(soma)
            scale = PASSED * context.hparam('scale', l)
            errors.append(scale * (before - after) * sigma * (1 - sigma))
        forward = correlations(network, weights['forward'], free.potentials[:-1], errors)
        return {'forward': forward, 'feedback': ()}

    def start(weights):
        forward = tuple(own | {'kernel': SPREAD * own['kernel']} for own in weights['forward'])
        return weights | {'forward': forward}

    hparams = (GAIN._replace(default=3.0), SCALE._replace(default=20.0))
    return Rule(_init, updates=updates, infer=infer, hparams=hparams, start=start, hertz=HERTZ)
