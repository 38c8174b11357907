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

    def nothing(v, mu):
        return ()

    def inferred(network, weights, states, context, each):
        """(v, mu) after the steps, and the sum of each(v, mu) over them."""
        eta, top = context.hparam('eta', len(network.layers)), len(network.layers)
        start = states[:-1], states[1:]

        def step(carry, lowest=1):
            found, total = carry
            found = stepped(network, weights, *found, context, eta, lowest)
            return found, jax.tree.map(jnp.add, total, each(*found))

        # News of the label comes down by a layer a step: below all is at rest.
        carry = start, jax.tree.map(jnp.zeros_like, jax.eval_shape(each, *start))
        for lowest in range(top - 1, 0, -1)[:steps]:
            carry = step(carry, lowest)
        return jax.lax.fori_loop(top - 1, steps, lambda _, carry: step(carry), carry)

    def updates(network, weights, states, context):
        def learned(v, mu):
            return updates_at(network, weights, v, mu, errors(v, mu, context))

        if summed:
            _, forward = inferred(network, weights, states, context, learned)
        else:
            forward = learned(*inferred(network, weights, states, context, nothing)[0])
        return {'forward': forward, 'feedback': ()}

    def phases(network, weights, states, context):
        eta = context.hparam('eta', len(network.layers))
        (v, mu), _ = inferred(network, weights, states, context, nothing)
        return {'taught': (v, stepped(network, weights, v, mu, context, eta)[0])}

    return Rule(no_feedback, updates=updates, phases=phases, hparams=(ETA,))


def fixed_prediction(steps: int = 20) -> Rule:
    """Predictions of the forward pass alone; its errors go to backpropagation's."""
    _at_least_one(steps)

    def settled(network, weights, states, context):
        """eps_1, ..., eps_L after the steps, and after one more."""
        eta = context.hparam('eta', len(network.layers))

        def step(eps, _):
            backs = (back_of(network, weights, states[1:], eps, l) for l in range(1, len(eps)))
            below = (e + eta * (back - e) for e, back in zip(eps[:-1], backs, strict=True))
            return (*below, eps[-1]), None

        start = (*(jnp.zeros_like(h) for h in states[1:-1]), -context.error(states))
        eps, _ = jax.lax.scan(step, start, None, length=steps)
        return eps, step(eps, None)[0]

    def signals(network, weights, states, context):
        return tuple(-e for e in settled(network, weights, states, context)[0])

    def phases(network, weights, states, context):
        return {'taught': settled(network, weights, states, context)}

    return Rule(no_feedback, signals, phases=phases, hparams=(ETA._replace(default=0.5),))


def with_many_steps(problem):
    """The problem in which the errors have come to rest: there they are backpropagation's."""
    eta = jnp.asarray(0.5, problem.hparams['eta'].dtype)
    return problem._replace(rule=fixed_prediction(60), hparams=problem.hparams | {'eta': eta})


def zero_divergence() -> Rule:
    """Z-IL: the strict dynamics in full, each error read in its own moment."""

    def updates(network, weights, states, context):
        v, mu, read = states[:-1], states[1:], []
        for l in range(len(network.layers), 0, -1):
            read.append(-errors(v, mu, context)[l - 1])
            v, mu = stepped(network, weights, v, mu, context, 1.0, max(l - 1, 1))
        forward = forward_updates(network, weights['forward'], states, tuple(reversed(read)))
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates)


def nudged_predictive_coding(sweeps: int = 6) -> Rule:
    """Nudged predictive coding, centred; sweeps should be as many as there are layers."""
    _at_least_one(sweeps)

    def settled(network, weights, states, context, nudge):
        """(v_0, ..., v_L) after the sweeps, and after one more."""
        top = len(network.layers)

        def sweep(hidden, _):
            v = [states[0], *hidden]
            for l in odd_even(top):
                mu = predicted(network, weights, v, states[1], l)
                if l == top:
                    v[l] = mu - nudge * context.loss.error(v[l], context.batch['label'])
                else:
                    above = predicted(network, weights, v, states[1], l + 1)
                    error = network.layers[l].slope(above) * (v[l + 1] - above)
                    v[l] = mu + network.layers[l].transpose(weights['forward'][l]['kernel'], error)
            return tuple(v[1:]), None

        hidden, _ = jax.lax.scan(sweep, tuple(states[1:]), None, length=sweeps)
        return (states[0], *hidden), (states[0], *sweep(hidden, None)[0])

    def learned(network, weights, states, context, nudge):
        v, _ = settled(network, weights, states, context, nudge)
        mu = [predicted(network, weights, v, states[1], l) for l in range(1, len(v))]
        eps = [x - m for x, m in zip(v[1:], mu, strict=True)]
        return updates_at(network, weights, v[:-1], mu, eps)

    def updates(network, weights, states, context):
        beta = context.hparam('beta', len(network.layers))
        plus, minus = (learned(network, weights, states, context, b) for b in (beta, -beta))
        forward = jax.tree.map(lambda p, m: (p - m) / (2 * beta), plus, minus)
        return {'forward': forward, 'feedback': ()}

    def phases(network, weights, states, context):
        beta = context.hparam('beta', len(network.layers))
        return {'taught': settled(network, weights, states, context, beta)}

    return Rule(no_feedback, updates=updates, phases=phases, hparams=(BETA,))


def predicted(network, weights, v, lowest, l):
    """mu_l; lowest is mu_1, which never changes."""
    return lowest if l == 1 else network.layers[l - 1].apply(weights['forward'][l - 1], v[l - 1])


def errors(v, mu, context):
    """eps_1, ..., eps_L of the states v_0, ..., v_{L-1} and the predictions mu_1, ..., mu_L."""
    below = [x - m for x, m in zip(v[1:], mu[:-1], strict=True)]
    return [*below, -context.loss.error(mu[-1], context.batch['label'])]


def stepped(network, weights, v, mu, context, eta, lowest=1):
    """(v, mu) after a step of eta of the layers from `lowest` on; mu_1 never changes."""
    v, mu, eps = list(v), list(mu), errors(v, mu, context)
    moving = range(lowest, len(network.layers))
    moves = [back_of(network, weights, mu, eps, l) - eps[l - 1] for l in moving]
    for l, move in zip(moving, moves, strict=True):
        v[l] = v[l] + eta * move
        mu[l] = network.layers[l].apply(weights['forward'][l], v[l])
    return tuple(v), tuple(mu)


def back_of(network, weights, mu, eps, l):
    """W_{l+1}^T (s'_{l+1} * eps_{l+1}); mu and eps begin at 1."""
    layer = network.layers[l]
    return layer.transpose(weights['forward'][l]['kernel'], layer.slope(mu[l]) * eps[l])


def updates_at(network, weights, v, mu, eps):
    """dE/dW of every layer."""
    rows = zip(network.layers, weights['forward'], v, mu, eps, strict=True)
    return tuple(layer.update(params, x, m, -e) for layer, params, x, m, e in rows)


def _at_least_one(steps: int) -> None:
    """Raises UserError for fewer steps."""
    if steps < 1:
        raise UserError(f'it takes one step at least, not {steps}')
