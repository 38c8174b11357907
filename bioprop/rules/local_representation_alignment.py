"""Local representation alignment (Ororbia et al. 2018, Ororbia and Mali 2019).

Targets y_l are states of pre-activations that are moved, a_l = W_l h_{l-1} + b_l, from e = dL/dh_L
at the top down.

    lra_e     e_L = e,   e_l = h_l - s_l(a_l - beta E_{l+1} e_{l+1})
              dW_l = e_l h_{l-1}, or (form='sloped') s'_l e_l h_{l-1}
              dE_l = gamma dW_l: E moves with W, the sign of the authors' code
    lra_diff  d_L = e,   d_l = the slope of the penalty at h_l - y_l;   dW_l = s'_l d_l h_{l-1}
              steps times: a_{l-1} <- a_{l-1} - clip(s'_{l-1} W_l^T (s'_l d_l)), whereupon h_{l-1},
              h_l and d_l follow;   y_{l-1} = s_{l-1}(a_{l-1})
    lra_fdbk  the same with a fixed E_l in the place of s'_{l-1} W_l^T

As beta goes to 0, lra_e's e_l is beta^(L-l) s'_l delta_l of feedback alignment, which it is with a
saturating pass; its sloped form has s'_l squared, and no such limit. The
tables of the papers were not seen, nor the text of the first, whose rules are from descriptions and
a reimplementation; moves are clipped for each example, and updates by config.clip.
"""

import functools

import jax
import jax.numpy as jnp

from bioprop.errors import UserError, unknown
from bioprop.rules.base import Hyperparameter, Rule, no_feedback
from bioprop.rules.kernel_feedback import feedback_kernels, init_feedback, init_fixed_feedback

BETA = Hyperparameter('beta', 0.1, 0.01, 1.0, log=True, least=0)
GAMMA = Hyperparameter('gamma', 1.0, least=0)
MOVE_CLIP = Hyperparameter('move_clip', 1.0, least=0)
FORMS = ('plain', 'sloped')
PENALTIES = {  # their slopes in d = h - y: of log(1 + d^2), summed over units, and of d^2 / 2
    'log': lambda d: 2 * d / (1 + jnp.square(d)),
    'squared': lambda d: d,
}


def lra_e(form: str = 'plain') -> Rule:
    """Error-driven LRA; E_l is drawn like W_l. Raises UserError for another form."""
    if form not in FORMS:
        raise unknown('form', form, FORMS)

    def updates(network, weights, states, context):
        error, forward = context.error(states), []
        for l in range(len(network.layers), 0, -1):
            layer, params, h = network.layers[l - 1], weights['forward'][l - 1], states[l]
            taught = layer.slope(h) * error if form == 'sloped' else error
            forward.append(layer.correlation(params, states[l - 1], taught))
            if l > 1:
                down = layer.transpose(weights['feedback'][l - 1]['kernel'], error)
                move = context.hparam('beta', l) * down
                below = network.layers[l - 2], weights['forward'][l - 2], states[l - 2]
                error = retreat(*below, states[l - 1], move)
        forward = tuple(reversed(forward))
        feedback = [
            {'kernel': context.hparam('gamma', l) * update['kernel']}
            for l, update in enumerate(forward[1:], start=2)
        ]
        return {'forward': forward, 'feedback': (None, *feedback)}

    return Rule(
        init_feedback, updates=updates, hparams=(BETA, GAMMA), feedback_kernels=feedback_kernels
    )


def retreat(layer, params, x, h, move):
    """h - s(a - move), the state h = s(a): of tanh by its addition theorem, whatever the size."""
    if layer.activation is jnp.tanh:
        down = jnp.tanh(move)
        return down * layer.slope(h) / (1 - h * down)
    return h - layer.activation(layer.potential(params, x) - move)


def lra_diff(steps: int = 10, penalty: str = 'log') -> Rule:
    """LRA by the derivative, in so many steps a layer; the paper has 150.

    Raises UserError for another option.
    """

    def back(network, weights, l, moved, own):
        """s'_{l-1} W_l^T own."""
        layer, below = network.layers[l - 1], network.layers[l - 2]
        return below.slope(moved) * layer.transpose(weights['forward'][l - 1]['kernel'], own)

    return _by_moves(no_feedback, back, steps, penalty)


def lra_fdbk(steps: int = 1, penalty: str = 'log') -> Rule:
    """LRA by fixed feedback E_l, drawn like W_l. Raises UserError for another option."""

    def back(network, weights, l, moved, own):
        """E_l own."""
        return network.layers[l - 1].transpose(weights['fixed'][l - 1]['kernel'], own)

    return _by_moves(init_fixed_feedback, back, steps, penalty)


def _by_moves(init, back, steps, penalty):
    """back: (network, weights, l, h_{l-1} as moved, s'_l d_l) -> the next move of a_{l-1}."""
    if penalty not in PENALTIES:
        raise unknown('penalty', penalty, PENALTIES)
    if steps < 1:
        raise UserError(f'steps must be at least 1, not {steps}')
    slope = PENALTIES[penalty]

    def target_below(network, weights, states, context, l, towards):
        """y_{l-1}, by moves that bring h_l nearer to where `towards` is 0."""
        layer, below = network.layers[l - 1], network.layers[l - 2]
        a = below.potential(weights['forward'][l - 2], states[l - 2])
        moved, h = states[l - 1], states[l]
        for _ in range(steps):
            move = back(network, weights, l, moved, layer.slope(h) * towards(h))
            a = a - clipped(move, context.hparam('move_clip', l))
            moved = below.activation(a)
            h = layer.apply(weights['forward'][l - 1], moved)
        return moved

    def updates(network, weights, states, context):
        def towards(h):
            return context.loss.error(h, context.batch['label'])

        forward = []
        for l in range(len(network.layers), 0, -1):
            layer, params = network.layers[l - 1], weights['forward'][l - 1]
            forward.append(layer.update(params, states[l - 1], states[l], towards(states[l])))
            if l > 1:
                y = target_below(network, weights, states, context, l, towards)
                towards = functools.partial(_penalised, slope, y)
        return {'forward': tuple(reversed(forward)), 'feedback': ()}

    return Rule(init, updates=updates, hparams=(MOVE_CLIP,))


def _penalised(slope, y, h):
    return slope(h - y)


def clipped(move: jax.Array, longest: jax.Array) -> jax.Array:
    """The move of every example, shortened to that length where it is longer."""
    length = jnp.sqrt(jnp.sum(jnp.square(move), axis=range(1, move.ndim), keepdims=True))
    return move * jnp.minimum(1, longest / jnp.where(length > 0, length, 1))
