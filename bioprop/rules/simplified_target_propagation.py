"""Target propagation that transports no gradient (Bartunov et al. 2018).

As difference target propagation (`bioprop.rules.target_propagation`), but that targets start at the
output o = softmax(h_L), or at (o, z) with z = tanh(A h_{L-1}), A fixed:

    SDTP     t_L = the label        AO-SDTP  t_L = (label, z)

and that the inverses, g_L of the outputs among them, descend

    inverse_scale || g_l(f_l(h_{l-1} + e)) - h_{l-1} ||^2,   e ~ sigma N(0, 1),   l = 2..L
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.layers import dense
from bioprop.networks import Network
from bioprop.rules import inverses
from bioprop.rules.base import Rule
from bioprop.rules.target_propagation import (
    HPARAMS,
    by_difference,
    descend,
    forward_signals,
    reconstruct,
    squared_distance,
)


def sdtp(inverse: str | Callable = 'after') -> Rule:
    """Simplified DTP: the target of the output is the label, and no gradient is transported."""
    return ao_sdtp(auxiliary_units=0, inverse=inverse)


def ao_sdtp(auxiliary_units: int = 256, inverse: str | Callable = 'after') -> Rule:
    """SDTP with auxiliary outputs: fixed random features z of h_{L-1} beside the output o.

    g_L then inverts (o, z), of width outputs + auxiliary_units; z is the same in the target as in
    the state. `inverse` is given the network whose top layer has that width.
    """
    g = inverses.named(inverse)

    def widen(network):
        wide = dense(network.out_shape[0] + auxiliary_units, 'linear')(network.layers[-1].in_shape)
        return Network((*network.layers[:-1], wide))

    def projection(network):
        return dense(auxiliary_units, 'tanh')(network.layers[-1].in_shape)

    def features(network, weights, h):
        if not auxiliary_units:
            return jnp.zeros((len(h), 0), h.dtype)
        layer = projection(network)
        return layer.activation(layer.linear(weights['fixed'], h))

    def init(key, network, forward):
        key_inverse, key_projection = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        feedback = inverses.init_inverses(key_inverse, widen(network), top=len(network.layers))
        fixed = projection(network).init_kernel(key_projection) if auxiliary_units else ()
        return feedback, fixed

    def displacements(network, weights, states, context):
        z, wide, top = features(network, weights, states[-2]), widen(network), len(network.layers)
        optimum = context.loss.optimum(states[-1], context.batch['label'])
        output, best = (
            jnp.concatenate([y, z], axis=-1) for y in (context.loss.output(states[-1]), optimum)
        )
        displacement = g.difference(wide, weights, top, output, best)
        return descend(top - 1, displacement, by_difference(g)(wide, weights, states))

    def inverse_of_state(network, weights, context, l, x, h):
        if l == len(network.layers):
            h = jnp.concatenate([context.loss.output(h), features(network, weights, x)], axis=-1)
        return g.apply(widen(network), weights, l, h)

    def feedback_loss(network, weights, states, context):
        loss = 0.0
        for l in range(2, len(network.layers) + 1):
            _, back = reconstruct(network, weights, states, context, l, inverse_of_state)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, states[l - 1])
        return loss

    return Rule(
        init, forward_signals(displacements), feedback_loss, hparams=HPARAMS,
        displacements=displacements, inverse=inverse_of_state,
        feedback_kernels=inverses.inverse_kernels,
    )  # fmt: skip
