"""Bursts that teach: Burstprop (Payeur et al. 2021) and BurstCCN (Greedy et al. 2022).

For tanh units: their events are e = (1 + h) / 2, of which a share p bursts, b = p e, and r = s' / e
= 2 (1 - h) is their slope over it. With the output's events o, the softmax of the logits, and its
bursts o / 2, told of the error or not:

    BurstCCN    b_L = o / 2 - nudge dL/dh_L,   u_l = Y_{l+1}^T b_{l+1} - Q_{l+1}^T e_{l+1},  e_L = o
                b_l = e_l sigma(4 u_l r_l),    delta_l = (1 / 2 - sigma(4 u_l r_l)) / (r_l nudge)
                Q learns to silence u:  dQ of |u|^2 / 2, from its optimum Y / 2 without an error
    Burstprop   u_l = Y_{l+1}^T b_{l+1} twice, from o / 2 and from o / 2 - nudge dL/dh_L
                delta_l = (sigma(4 u_l r_l), free, less taught) / (r_l nudge)

Y is fixed. With Y = W and Q = W / 2 the first is backpropagation as nudge goes to 0, by its square;
the second is feedback alignment whose signals have the gain 4 p (1 - p) of a unit's free share p.
As the output is taught all the while, Q takes from u what its own events tell of the error, too:
the catalogue has a rate of 0 for it.
Burstprop's recurrence within a layer, which draws p to 1/2, is left out: Q does its work. Signs are
those of Greedy et al.'s code, which are opposite to their paper's.
"""

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.kernel_feedback import init_fixed_feedback

FORMS = ('burstccn', 'burstprop')
NUDGE = Hyperparameter('nudge', 0.1, 0.01, 1.0, log=True, least=0)
LEAST = 1e-6  # of 1 - h: a unit at its ceiling has no slope


def burst(form: str = 'burstccn') -> Rule:
    """Burstprop or BurstCCN, for activation=tanh. Raises UserError for another form."""
    if form not in FORMS:
        raise unknown('form', form, FORMS)
    return _burstccn() if form == 'burstccn' else _burstprop()


def _burstccn() -> Rule:
    def init(key, network, forward):
        _, fixed = init_fixed_feedback(key, network, forward)
        return tuple(jax.tree.map(lambda kernel: kernel / 2, own) for own in fixed), fixed

    def descended(network, weights, states, context):
        """(u_{L-1}, ..., u_1) and (delta_{L-1}, ..., delta_1)."""
        nudge, output = (
            context.hparam('nudge', len(network.layers)),
            context.loss.output(states[-1]),
        )
        above, excess = output, -nudge * context.error(states)  # of bursts over half the events
        potentials, deltas = [], []
        for l in range(len(network.layers) - 1, 0, -1):
            layer, y = network.layers[l], weights['fixed'][l]['kernel']
            u = layer.transpose(y, excess)
            u += layer.transpose(y / 2 - weights['feedback'][l]['kernel'], above)
            more, above = share_above_half(u, states[l]), events(states[l])
            excess = jax.lax.stop_gradient(above * more)  # each Q learns by its own u
            potentials.append(u)
            deltas.append(-more / (ratio(states[l]) * nudge))
        return potentials, deltas

    def signals(network, weights, states, context):
        _, deltas = descended(network, weights, states, context)
        return (*deltas[::-1], context.error(states))

    def feedback_loss(network, weights, states, context):
        potentials, _ = descended(network, weights, states, context)
        return sum(jnp.sum(jnp.square(u)) / (2 * len(u)) for u in potentials)

    return Rule(init, signals, feedback_loss, hparams=(NUDGE,))


def _burstprop() -> Rule:
    def shares(network, weights, states, output):
        """p_{L-1}, ..., p_1 less 1/2, for the burst rate of the output."""
        bursts, found = output, []
        for l in range(len(network.layers) - 1, 0, -1):
            u = network.layers[l].transpose(weights['fixed'][l]['kernel'], bursts)
            found.append(share_above_half(u, states[l]))
            bursts = events(states[l]) * (0.5 + found[-1])
        return found

    def signals(network, weights, states, context):
        nudge, output = (
            context.hparam('nudge', len(network.layers)),
            context.loss.output(states[-1]),
        )
        free = shares(network, weights, states, output / 2)
        taught = shares(network, weights, states, output / 2 - nudge * context.error(states))
        deltas = [
            (p - q) / (ratio(h) * nudge)
            for p, q, h in zip(free[::-1], taught[::-1], states[1:-1], strict=True)
        ]
        return (*deltas, context.error(states))

    return Rule(init_fixed_feedback, signals, hparams=(NUDGE,))


def with_forward_bursts(problem):
    """The problem in which Y = W, Q = W / 2 and the nudge is small: there it is backpropagation."""
    kernels = [params['kernel'] for params in problem.weights['forward'][1:]]
    weights = problem.weights | {
        'fixed': (None, *({'kernel': kernel} for kernel in kernels)),
        'feedback': (None, *({'kernel': kernel / 2} for kernel in kernels)),
    }
    nudge = jnp.full_like(problem.hparams['nudge'], 1e-5)
    return problem._replace(weights=weights, hparams=problem.hparams | {'nudge': nudge})


def events(h):
    """Event rates of tanh units."""
    return (1 + h) / 2


def ratio(h):
    """The slope of tanh units over their event rates."""
    return 2 * jnp.maximum(1 - h, LEAST)


def share_above_half(u, h):
    """sigma(4 u r) - 1/2, of which no digits cancel."""
    return jnp.tanh(2 * u * ratio(h)) / 2
