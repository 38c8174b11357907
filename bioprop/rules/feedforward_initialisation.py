"""Feedforward initialisation (Bengio et al. 2016): feedback that predicts what comes from below.

    h_l = s_l((1 - mix) a_l(h_{l-1}) + mix (V_{l+1}^T h_{l+1} + c_l)),  l < L       h_L = a_L
    feedback loss  sum_l |V_{l+1}^T h_{l+1} + c_l - a_l|^2 / 2

Where the feedback predicts well the forward pass is a fixed point, from which inference has little
to do. The paper has no rule for W: here it is the vector field of `equilibrium_propagation`,
centred, with mix for gamma,

    dW_l = mix^(l-L) / (2 beta) H(h_l^- - h_l^+, h_{l-1}^0)

V_l and c_l learn where the net has settled. The equations of the loss are remembered.
"""

import jax
import jax.numpy as jnp

from bioprop.layers import add_bias
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.equilibrium_propagation import BETA, towards
from bioprop.rules.hebbian import driven
from bioprop.rules.inverses import init_inverses
from bioprop.rules.relaxation import relax

MIX = Hyperparameter('mix', 0.3, 0.05, 0.7, least=0)


def feedforward_initialisation(free_steps: int = 20, nudged_steps: int = 12) -> Rule:
    """Feedforward initialisation; V_l is drawn like W_l, c_l begins at 0; steps are sweeps."""

    def init(key, network, forward):
        return init_inverses(key, network, len(network.layers)), ()

    def sweeps(network, weights, states, context, steps, **how):
        mix, feedback = context.hparam('mix', len(network.layers)), weights['feedback']
        kernels = tuple(own and own['kernel'] for own in feedback)

        def drive(l, below, above):
            return (1 - mix) * below + mix * add_bias(above, feedback[l]['bias'])

        return relax(network, weights['forward'], states, drive, steps, kernels=kernels, **how)

    def infer(network, weights, context):
        states = network.states(weights['forward'], context.batch['image'])
        return sweeps(network, weights, states, context, free_steps)

    def feedback_loss(network, weights, states):
        loss = 0.0
        for l in range(1, len(network.layers)):
            own, layer = weights['feedback'][l], network.layers[l - 1]
            a = layer.potential(weights['forward'][l - 1], states[l - 1])
            above = network.layers[l].transpose(own['kernel'], states[l + 1])
            loss += jnp.sum(jnp.square(add_bias(above, own['bias']) - a)) / (2 * len(a))
        return loss

    def updates(network, weights, states, context):
        beta, mix = (context.hparam(name, len(network.layers)) for name in ('beta', 'mix'))
        plus, minus = (
            sweeps(network, weights, states, context, nudged_steps, **towards(context, b))
            for b in (beta, -beta)
        )
        forward = driven(network, weights['forward'], states, minus, plus, mix)
        feedback = jax.grad(
            lambda own: feedback_loss(network, weights | {'feedback': own}, states)
        )(weights['feedback'])
        return {
            'forward': jax.tree.map(lambda u: u / (2 * beta), forward),
            'feedback': feedback,
        }

    def phases(network, weights, states, context):
        how = towards(context, context.hparam('beta', len(network.layers)))
        taught = sweeps(network, weights, states, context, nudged_steps, **how)
        return {
            'free': (states, sweeps(network, weights, states, context, 1)),
            'taught': (taught, sweeps(network, weights, taught, context, 1, **how)),
        }

    return Rule(init, updates=updates, infer=infer, phases=phases, hparams=(BETA, MIX))
