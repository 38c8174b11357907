"""Predictive coding: states that settle between what predicts them and what they predict.

    mu_l = f_l(v_{l-1}),   eps_l = v_l - mu_l,   eps_L = -dL/dmu_L,   v_0 = h_0
    E = sum_{l < L} |eps_l|^2 / 2 + L(mu_L)
    v_l <- v_l + eta (W_{l+1}^T (s'_{l+1} * eps_{l+1}) - eps_l),   l < L, from the forward pass
    dW_l = the local update at (v_{l-1}, mu_l) by -eps_l: dE/dW_l

    predictive_coding         after the steps, or summed over them (Whittington and Bogacz 2017)
    fixed_prediction          mu, slopes and v_{l-1} stay those of the forward pass (Millidge,
                              Tschantz and Buckley 2020): backpropagation after L - 1 steps of eta 1
    zero_divergence           eta = 1, and eps_l is read at the step L - l, when it is first moved
                              (Song et al. 2020): backpropagation
    nudged_predictive_coding  the top settles too, v_L <- mu_L - b dL/dv_L, in sweeps of every other
                              layer at eta = 1, for b = -beta and beta; dW_l is the difference of
                              the two dE/dW_l over 2 beta (Kerjan, Scellier and Hoier 2026)

The last tends to backpropagation with beta^2 once it has taken L sweeps; with fewer some layer has
heard of its own prediction alone. Summed over inference is iPC's weight change at frozen weights
(Salvatori et al. 2024), whose weights move in between.
"""

import jax
import jax.numpy as jnp

from bioprop.errors import UserError
from bioprop.rules.base import Hyperparameter, Rule, forward_updates, no_feedback
from bioprop.rules.relaxation import odd_even

ETA = Hyperparameter('eta', 0.1, 0.01, 0.5, log=True, least=0)
BETA = Hyperparameter('beta', 0.02, 0.001, 0.5, log=True, least=0)


def predictive_coding(steps: int = 20, summed: bool = False) -> Rule:
    """Strict predictive coding; eta is safe below 2 / (1 + the largest norm of a Jacobian)^2."""
    _at_least_one(steps)

    def updates(network, weights, states, context):
        eta = context.hparam('eta', len(network.layers))

        def learned(v):
            return updates_at(network, weights, v, *errors(network, weights, v, states[1], context))

        def step(carry, _):
            v, total = carry
            v = moved(network, weights, v, *errors(network, weights, v, states[1], context), eta)
            return (v, jax.tree.map(jnp.add, total, learned(v)) if summed else total), None

        v = tuple(states[:-1])
        zeros = jax.tree.map(jnp.zeros_like, weights['forward'])
        (v, total), _ = jax.lax.scan(step, (v, zeros), None, length=steps)
        return {'forward': total if summed else learned(v), 'feedback': ()}

    return Rule(no_feedback, updates=updates, hparams=(ETA,))


def fixed_prediction(steps: int = 20) -> Rule:
    """Predictions of the forward pass alone; its errors go to backpropagation's."""
    _at_least_one(steps)

    def signals(network, weights, states, context):
        eta, layers = context.hparam('eta', len(network.layers)), network.layers

        def step(eps, _):
            backs = backs_of(network, weights, states, eps)
            below = (e + eta * (back - e) for e, back in zip(eps[:-1], backs, strict=True))
            return (*below, eps[-1]), None

        start = (*(jnp.zeros_like(h) for h in states[1 : len(layers)]), -context.error(states))
        eps, _ = jax.lax.scan(step, start, None, length=steps)
        return tuple(-e for e in eps)

    return Rule(no_feedback, signals, hparams=(ETA._replace(default=0.5),))


def zero_divergence() -> Rule:
    """Z-IL: the strict dynamics in full, each error read in its own moment."""

    def updates(network, weights, states, context):
        v, top, read = tuple(states[:-1]), len(network.layers), []
        for _ in range(top):
            eps, mu = errors(network, weights, v, states[1], context)
            read.append(-eps[top - 1 - len(read)])
            v = moved(network, weights, v, eps, mu, 1.0)
        forward = forward_updates(network, weights['forward'], states, tuple(reversed(read)))
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates)


def nudged_predictive_coding(sweeps: int = 6) -> Rule:
    """Nudged predictive coding, centred; sweeps should be as many as there are layers."""
    _at_least_one(sweeps)

    def settled(network, weights, states, context, nudge):
        top = len(network.layers)

        def predicted(v, l):
            if l == 1:
                return states[1]  # it never changes
            return network.layers[l - 1].apply(weights['forward'][l - 1], v[l - 1])

        def sweep(hidden, _):
            v = [states[0], *hidden]
            for l in odd_even(top):
                mu = predicted(v, l)
                if l == top:
                    v[l] = mu - nudge * context.loss.error(v[l], context.batch['label'])
                else:
                    above = predicted(v, l + 1)
                    error = network.layers[l].slope(above) * (v[l + 1] - above)
                    v[l] = mu + network.layers[l].transpose(weights['forward'][l]['kernel'], error)
            return tuple(v[1:]), None

        hidden, _ = jax.lax.scan(sweep, tuple(states[1:]), None, length=sweeps)
        v = (states[0], *hidden)
        mu = [predicted(v, l) for l in range(1, top + 1)]
        eps = [x - m for x, m in zip(hidden, mu, strict=True)]
        return updates_at(network, weights, v[:-1], eps, mu)

    def updates(network, weights, states, context):
        beta = context.hparam('beta', len(network.layers))
        plus, minus = (settled(network, weights, states, context, b) for b in (beta, -beta))
        forward = jax.tree.map(lambda p, m: (p - m) / (2 * beta), plus, minus)
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates, hparams=(BETA,))


def errors(network, weights, v, lowest, context):
    """((eps_1, ..., eps_L), (mu_1, ..., mu_L)) of states (v_0, ..., v_{L-1}).

    lowest is mu_1, which never changes: the largest product of a step.
    """
    rows = zip(network.layers[1:], weights['forward'][1:], v[1:], strict=True)
    mu = [lowest, *(layer.apply(params, x) for layer, params, x in rows)]
    below = [x - m for x, m in zip(v[1:], mu[:-1], strict=True)]
    return [*below, -context.loss.error(mu[-1], context.batch['label'])], mu


def backs_of(network, weights, mu, eps):
    """W_{l+1}^T (s'_{l+1} * eps_{l+1}), l = 1..L-1; mu is (mu_0, ..., mu_L), eps from 1 on."""
    rows = zip(network.layers[1:], weights['forward'][1:], mu[2:], eps[1:], strict=True)
    return [layer.transpose(w['kernel'], layer.slope(m) * e) for layer, w, m, e in rows]


def moved(network, weights, v, eps, mu, eta):
    """The states after a step of eta; v_0 stays."""
    backs = backs_of(network, weights, [None, *mu], eps)
    rows = zip(v[1:], backs, eps[:-1], strict=True)
    return (v[0], *(x + eta * (back - e) for x, back, e in rows))


def updates_at(network, weights, v, eps, mu):
    """dE/dW of every layer."""
    rows = zip(network.layers, weights['forward'], v, mu, eps, strict=True)
    return tuple(layer.update(params, x, m, -e) for layer, params, x, m, e in rows)


def _at_least_one(steps: int) -> None:
    """Raises UserError for fewer steps."""
    if steps < 1:
        raise UserError(f'it takes one step at least, not {steps}')
