"""Difference target propagation (Lee et al. 2015) and its simplified forms (Bartunov et al. 2018).

An inverse g_l maps h_l back to h_{l-1}: g_l(y) = s_{l-1}(transpose(V_l, y) + c_l). Targets go down
by the difference rule

    t_l = h_l + g_{l+1}(t_{l+1}) - g_{l+1}(h_{l+1})

and start
    DTP      at h_{L-1}:  t_{L-1} = h_{L-1} - alpha dL/dh_{L-1}
    SDTP     at the output o:  t_L = the label, h_L = o (softmax)
    AO-SDTP  at the output (o, z), z = tanh(A h_{L-1}) with A fixed:  t_L = (label, z)

A hidden layer descends scale ||h_l - t_l||^2, the top layer the task's loss. With noise
e ~ sigma N(0, 1) the inverses descend

    DTP             inverse_scale || g_l(f_l(h_{l-1} + e)) - (h_{l-1} + e) ||^2,  l = 2..L-1
    SDTP, AO-SDTP   inverse_scale || g_l(f_l(h_{l-1} + e)) - h_{l-1} ||^2,        l = 2..L

(summed over units, averaged over the batch). All take `inverse(network, weights, l, y)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.errors import UserError
from bioprop.layers import add_bias, dense
from bioprop.networks import Network
from bioprop.rules.base import Rule

HPARAMS = ('scale', 'inverse_scale', 'sigma')


def inverse(network, weights, l, y):
    """g_l(y), from the shape of h_l to that of h_{l-1}: the default inverse."""
    params = weights['feedback'][l - 1]
    a = network.layers[l - 1].transpose(params['kernel'], y)
    return network.layers[l - 2].activation(add_bias(a, params['bias']))


def init_inverses(key, network, top):
    """V_l, shaped and initialised like W_l, and c_l, shaped like b_{l-1}, for l = 2..top.

    Raises UserError for a network without a hidden layer: it has nothing to set targets for.
    """
    if len(network.layers) < 2:
        raise UserError('target propagation needs at least one hidden layer')
    feedback = [None] * len(network.layers)
    for l in range(2, top + 1):
        feedback[l - 1] = {
            'kernel': network.layers[l - 1].init_kernel(jax.random.fold_in(key, l)),
            'bias': network.layers[l - 2].init_bias(),
        }
    return tuple(feedback)


def descend_targets(network, weights, states, top_displacement, inverse):
    """h_l - t_l for l = 1..L-1 by the difference rule, from that of h_{L-1} down."""
    displacements = [top_displacement]
    for l in range(len(network.layers) - 1, 1, -1):
        h = states[l]
        target = h - displacements[-1]
        displacements.append(inverse(network, weights, l, h) - inverse(network, weights, l, target))
    return tuple(reversed(displacements))


def forward_signals(displacements, states, context):
    """delta_1..delta_L of the local losses scale ||h_l - t_l||^2 and of the task's loss."""
    hidden = [
        2 * context.hparam('scale', l) * displacement
        for l, displacement in enumerate(displacements, start=1)
    ]
    return (*hidden, context.error(states))


def hidden_output(h, up):
    """What g_l inverts at a hidden layer: h_l itself."""
    return up


def reconstruct(network, weights, states, context, l, inverse, output=hidden_output):
    """(h_{l-1} + e, g_l of f_l of it): a noisy state, and what comes back of it."""
    h = states[l - 1]
    noisy = h + context.hparam('sigma', l) * context.noise(l, h)
    up = network.layers[l - 1].apply(weights['forward'][l - 1], noisy)
    return noisy, inverse(network, weights, l, output(noisy, up))


def squared_distance(x, y):
    """||x - y||^2, summed over units and averaged over the batch."""
    return jnp.sum(jnp.square(x - y)) / len(x)


def dtp(inverse: Callable = inverse) -> Rule:
    """Difference target propagation; the penultimate target takes one gradient step of alpha."""

    def init(key, network, forward):
        return init_inverses(key, network, top=len(network.layers) - 1), ()

    def signals(network, weights, states, context):
        top = len(network.layers)
        gradient = network.layers[-1].transpose(
            weights['forward'][-1]['kernel'],
            network.layers[-1].slope(states[-1]) * context.error(states),
        )
        displacement = context.hparam('alpha', top) * gradient
        displacements = descend_targets(network, weights, states, displacement, inverse)
        return forward_signals(displacements, states, context)

    def feedback_loss(network, weights, states, context):
        loss = 0.0
        for l in range(2, len(network.layers)):
            noisy, back = reconstruct(network, weights, states, context, l, inverse)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, noisy)
        return loss

    return Rule(init, signals, feedback_loss, hparams=(*HPARAMS, 'alpha'))


def sdtp(inverse: Callable = inverse) -> Rule:
    """Simplified DTP: the target of the output is the label, and no gradient is transported."""
    return ao_sdtp(auxiliary_units=0, inverse=inverse)


def ao_sdtp(auxiliary_units: int = 256, inverse: Callable = inverse) -> Rule:
    """SDTP with auxiliary outputs: fixed random features z of h_{L-1} beside the output o.

    g_L then inverts (o, z), of width outputs + auxiliary_units; z is the same in the target as in
    the state. `inverse` is given the network whose top layer has that width.
    """

    def widen(network):
        wide = dense(network.out_shape[0] + auxiliary_units)(network.layers[-1].in_shape)
        return Network((*network.layers[:-1], wide))

    def wide_inverse(network, weights, l, y):
        return inverse(widen(network), weights, l, y)

    def projection(network):
        return dense(auxiliary_units, 'tanh')(network.layers[-1].in_shape)

    def features(network, weights, h):
        if not auxiliary_units:
            return jnp.zeros((len(h), 0), h.dtype)
        layer = projection(network)
        return layer.activation(layer.linear(weights['fixed'], h))

    def init(key, network, forward):
        key_inverse, key_projection = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        feedback = init_inverses(key_inverse, widen(network), top=len(network.layers))
        fixed = projection(network).init_kernel(key_projection) if auxiliary_units else ()
        return feedback, fixed

    def signals(network, weights, states, context):
        z = features(network, weights, states[-2])
        optimum = context.loss.optimum(states[-1], context.batch['label'])

        def back(output):
            y = jnp.concatenate([output, z], axis=-1)
            return wide_inverse(network, weights, len(network.layers), y)

        displacement = back(context.loss.output(states[-1])) - back(optimum)
        displacements = descend_targets(network, weights, states, displacement, wide_inverse)
        return forward_signals(displacements, states, context)

    def feedback_loss(network, weights, states, context):
        def top_output(h, logits):
            output = context.loss.output(logits)
            return jnp.concatenate([output, features(network, weights, h)], axis=-1)

        top = len(network.layers)
        loss = 0.0
        for l in range(2, top + 1):
            output = top_output if l == top else hidden_output
            _, back = reconstruct(network, weights, states, context, l, wide_inverse, output)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, states[l - 1])
        return loss

    return Rule(init, signals, feedback_loss, hparams=HPARAMS)
