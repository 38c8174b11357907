"""Gauss-Newton targets (Meulemans et al. 2020, GNT): what exact inverses of all layers above give.

    delta_l = J_l^T (J_l J_l^T + damping)^{-1} e,   J_l = dh_L/dh_l,   e = dL/dh_L,   l < L

per example; delta_L = e. Without damping it is the least move of h_l that moves the logits by e;
with much of it damping times delta_l is backpropagation's. There is no step size.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Hyperparameter, Rule, no_feedback
from bioprop.rules.linear_algebra import solve

DAMPING = Hyperparameter('damping', 1e-3, 1e-4, 10, log=True, least=0)


def gauss_newton_targets() -> Rule:
    """Gauss-Newton targets; as many passes down as there are outputs."""

    def signals(network, weights, states, context):
        error, hidden = context.error(states), []
        identity = jnp.eye(error.shape[-1], dtype=error.dtype)[None]
        for l, jacobian in enumerate(jacobians(network, weights['forward'], states)[:-1], start=1):
            rows = jacobian.reshape(*jacobian.shape[:2], -1)
            damped = rows @ rows.mT + context.hparam('damping', l) * identity
            steered = solve(damped, error)
            hidden.append(jnp.einsum('bk,bk...->b...', steered, jacobian))
        return (*hidden, error)

    return Rule(no_feedback, signals, hparams=(DAMPING,))


def jacobians(network, forward, states) -> list[jax.Array]:
    """dh_L/dh_l of every example, (batch, outputs, *shape of h_l), for l = 1..L."""
    batch, outputs = states[-1].shape
    each = [jnp.repeat(h, outputs, axis=0) for h in states]
    kernels = [params['kernel'] for params in forward]
    basis = jnp.tile(jnp.eye(outputs, dtype=states[-1].dtype), (batch, 1))
    rows = descend(network, kernels, each, basis)
    return [row.reshape(batch, outputs, *row.shape[1:]) for row in rows]
