"""Feasible target propagation (Friesen and Domingos 2018): nets of threshold units.

    h_l = sign(a_l) in {-1, 1};   r_L = e = dL/dh_L;   from the top down, l < L,

    t_l = -sign(r_l), the target of h_l       c_l = -w_l t_l g(a_l)
    dW_l = c_l h_{l-1}                        r_{l-1} = W_l^T c_l,   c_L = e

g is minus the slope of the layer's own loss at t a: 1 - tanh^2 a of the soft hinge, [|a| <= 1] of
the saturated one. w_l is 1 or (weighted, as in all commands of the authors) |r_l|: then it is the
straight-through estimator with the slope g, exactly. It descends from Le Cun's learning machine of
threshold units (1986), whose equations were not found.
"""

import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.base import Rule, no_feedback

SLOPES = {
    'soft_hinge': lambda a: 1 - jnp.square(jnp.tanh(a)),
    'saturated': lambda a: (jnp.abs(a) <= 1).astype(a.dtype),
}


def feasible_targets(loss_slope: str = 'soft_hinge', weighted: bool = True) -> Rule:
    """Feasible targets, for activation=sign. Raises UserError for another slope."""
    if loss_slope not in SLOPES:
        raise unknown('loss_slope', loss_slope, SLOPES)
    slope = SLOPES[loss_slope]

    def updates(network, weights, states, context):
        forward, r = [], context.error(states)
        for l in range(len(network.layers), 0, -1):
            layer, params, x = network.layers[l - 1], weights['forward'][l - 1], states[l - 1]
            if l < len(network.layers):
                r = (r if weighted else jnp.sign(r)) * slope(layer.potential(params, x))
            forward.append(layer.correlation(params, x, r))
            r = layer.transpose(params['kernel'], r)
        return {'forward': tuple(reversed(forward)), 'feedback': ()}

    return Rule(no_feedback, updates=updates)
