"""Learning from a scalar: how the loss changes along a random direction.

    forward_gradient       (dL . v) v            v like the weights (Baydin et al. 2022)
     perturb='activities'  delta_l = (dL . u) u_l, for each example, u_l like h_l (Ren et al. 2022)
    node_perturbation      the same by a difference:  (L(h + sigma u) - L(h)) / sigma  u_l
    weight_perturbation    (L(W + sigma v) - L(W - sigma v)) / (2 sigma)  v

v and u are signs, at even odds (Spall 1992): E v v^T = 1, so that on average each is the gradient.
Those papers draw normal numbers, of which the same is true; signs leave less noise, and take a
twentieth of the time. The noise of one draw grows with the number of weights or of units, and rates
must fall with it. Where activities are perturbed the top layer learns by its own error. Ren et al.
perturb what enters the activation; here it is what leaves it, of which the rules' signals are made.
Werfel, Xie and Seung (2005) and Spall are cited from memory.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.base import Hyperparameter, Rule, no_feedback
from bioprop.rules.tangents import signs_like, tangents

PERTURB = ('weights', 'activities')
SIGMA = Hyperparameter('sigma', 0.01, 1e-3, 0.1, log=True, least=0)


def forward_gradient(perturb: str = 'weights') -> Rule:
    """The directional derivative times the direction. Raises UserError for another `perturb`."""
    if perturb not in PERTURB:
        raise unknown('perturb', perturb, PERTURB)
    if perturb == 'activities':
        return _of_activities(_slope_of_loss)

    def slope(network, weights, states, context, direction):
        moved = tangents(network, weights['forward'], states, dparams=direction)
        return jnp.sum(context.error(states) * moved[-1]) / len(states[0])

    return _of_weights(slope)


def node_perturbation() -> Rule:
    """Node perturbation: every hidden unit is moved, and what it does to each example's loss."""

    def change(network, weights, states, context, directions):
        sigma, h = context.hparam('sigma', 1), states[0]
        for l, (layer, params) in enumerate(
            zip(network.layers, weights['forward'], strict=True), start=1
        ):
            h = layer.apply(params, h)
            if l < len(network.layers):
                h += sigma * directions[l - 1]
        label = context.batch['label']
        return (context.loss.value(h, label) - context.loss.value(states[-1], label)) / sigma

    return _of_activities(change, SIGMA)


def weight_perturbation() -> Rule:
    """Weight perturbation, both ways along one direction."""

    def change(network, weights, states, context, direction):
        def value(sign):
            step = sign * context.hparam('sigma', 1)
            moved = jax.tree.map(lambda w, v: w + step * v, weights['forward'], direction)
            output = network.states(moved, states[0])[-1]
            return jnp.mean(context.loss.value(output, context.batch['label']))

        return (value(1) - value(-1)) / (2 * context.hparam('sigma', 1))

    return _of_weights(change, SIGMA)


def _of_weights(change: Callable, *hparams: Hyperparameter) -> Rule:
    """change: (network, weights, states, context, direction) -> that of the mean loss."""

    def updates(network, weights, states, context):
        direction = signs_like(context.key, weights['forward'])
        slope = change(network, weights, states, context, direction)
        return {'forward': jax.tree.map(lambda v: slope * v, direction), 'feedback': ()}

    return Rule(no_feedback, updates=updates, hparams=hparams)


def _of_activities(change: Callable, *hparams: Hyperparameter) -> Rule:
    """change: (network, weights, states, context, directions) -> that of each example's loss."""

    def signals(network, weights, states, context):
        directions = [context.signs(l, h) for l, h in enumerate(states[1:-1], start=1)]
        slope = change(network, weights, states, context, directions)
        hidden = [slope.reshape(-1, *[1] * (u.ndim - 1)) * u for u in directions]
        return (*hidden, context.error(states))

    return Rule(no_feedback, signals, hparams=hparams)


def _slope_of_loss(network, weights, states, context, directions):
    moved = tangents(network, weights['forward'], states, dstates=directions)
    return jnp.sum(context.error(states) * moved[-1], axis=-1)
