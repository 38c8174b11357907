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
from bioprop.rules.base import Hyperparameter, Rule

# Local losses are squared distances summed over units. Ranges are those of table 4.
HPARAMS = (
    Hyperparameter('scale', 1.0, least=0),
    Hyperparameter('inverse_scale', 1.0, least=0),
    Hyperparameter('sigma', None, 0.01, 0.4, least=0),
)
ALPHA = Hyperparameter('alpha', None, 0.01, 0.4, least=0)


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


def forward_signals(displacements):
    """The signals of the local losses scale ||h_l - t_l||^2 and, at the top, of the task's loss."""

    def signals(network, weights, states, context):
        hidden = [
            2 * context.hparam('scale', l) * displacement
            for l, displacement in enumerate(
                displacements(network, weights, states, context), start=1
            )
        ]
        return (*hidden, context.error(states))

    return signals


def inverse_kernels(network, weights):
    """V_l in the shape of W_l; of V_L the part that the outputs go through."""
    return tuple(
        params and params['kernel'][..., : layer.kernel_shape[-1]]
        for layer, params in zip(network.layers, weights['feedback'], strict=True)
    )


def reconstruct(network, weights, states, context, l, inverse):
    """(h_{l-1} + e, g_l of f_l of it): a noisy state, and what comes back of it."""
    h = states[l - 1]
    noisy = h + context.hparam('sigma', l) * context.noise(l, h)
    up = network.layers[l - 1].apply(weights['forward'][l - 1], noisy)
    return noisy, inverse(network, weights, context, l, noisy, up)


def squared_distance(x, y):
    """||x - y||^2, summed over units and averaged over the batch."""
    return jnp.sum(jnp.square(x - y)) / len(x)


def dtp(inverse: Callable = inverse) -> Rule:
    """Difference target propagation; the penultimate target takes one gradient step of alpha."""

    def init(key, network, forward):
        return init_inverses(key, network, top=len(network.layers) - 1), ()

    def displacements(network, weights, states, context):
        top = len(network.layers)
        gradient = network.layers[-1].transpose(
            weights['forward'][-1]['kernel'],
            network.layers[-1].slope(states[-1]) * context.error(states),
        )
        displacement = context.hparam('alpha', top) * gradient
        return descend_targets(network, weights, states, displacement, inverse)

    def inverse_of_state(network, weights, context, l, x, h):
        return inverse(network, weights, l, h)

    def feedback_loss(network, weights, states, context):
        loss = 0.0
        for l in range(2, len(network.layers)):
            noisy, back = reconstruct(network, weights, states, context, l, inverse_of_state)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, noisy)
        return loss

    return Rule(
        init, forward_signals(displacements), feedback_loss, hparams=(*HPARAMS, ALPHA),
        displacements=displacements, inverse=inverse_of_state, feedback_kernels=inverse_kernels,
    )  # fmt: skip


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

    def displacements(network, weights, states, context):
        z = features(network, weights, states[-2])
        optimum = context.loss.optimum(states[-1], context.batch['label'])

        def back(output):
            y = jnp.concatenate([output, z], axis=-1)
            return wide_inverse(network, weights, len(network.layers), y)

        displacement = back(context.loss.output(states[-1])) - back(optimum)
        return descend_targets(network, weights, states, displacement, wide_inverse)

    def inverse_of_state(network, weights, context, l, x, h):
        if l == len(network.layers):
            h = jnp.concatenate([context.loss.output(h), features(network, weights, x)], axis=-1)
        return wide_inverse(network, weights, l, h)

    def feedback_loss(network, weights, states, context):
        loss = 0.0
        for l in range(2, len(network.layers) + 1):
            _, back = reconstruct(network, weights, states, context, l, inverse_of_state)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, states[l - 1])
        return loss

    return Rule(
        init, forward_signals(displacements), feedback_loss, hparams=HPARAMS,
        displacements=displacements, inverse=inverse_of_state, feedback_kernels=inverse_kernels,
    )  # fmt: skip
