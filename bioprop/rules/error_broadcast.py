"""Error broadcast (Erdogan, Pehlevan and Erdogan 2025, EBD): decorrelation from the error.

    delta_l = R_l e,   e = dL/dh_L,   l < L        R_l = a running mean of h_l (x) e

The error of the best estimator is uncorrelated with every function of the input, so each hidden
layer descends |R_l|^2 / 2, the error held still: that settles the sign, whichever that of e. The
paper's terms for power and entropy, against collapse, couple the examples of a batch and are left
out; its formulas were not seen. R_l is a feedback weight that descends |R_l|^2 / 2 - <R_l, C_l>, C
the batch's correlation: with SGD of rate 1 - lambda that is the running mean R <- lambda R + (1 -
lambda) C. At the paper's lambda of 0.99999 it is a slowly moving random matrix.
"""

import jax.numpy as jnp
from jax.lax import stop_gradient

from bioprop.rules.base import Rule
from bioprop.rules.direct_kolen_pollack import correlation, init_direct, send


def error_broadcast() -> Rule:
    """EBD's core; R_l starts like the kernel of a dense layer."""

    def feedback_loss(network, weights, states, context):
        """The sum of |R_l|^2 / 2 - <R_l, C_l>."""
        states, loss = stop_gradient(states), 0.0
        error = context.error(states)
        for own, h in zip(weights['feedback'][:-1], states[1:-1], strict=True):
            kernel = own['kernel']
            loss += jnp.sum(jnp.square(kernel)) / 2 - jnp.sum(kernel * correlation(h, error))
        return loss

    return Rule(init_direct, send, feedback_loss)
