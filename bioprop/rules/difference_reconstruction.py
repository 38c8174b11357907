"""Inverses that learn to have the layers' transposed Jacobians, and inverses that do not learn.

Targets are those of difference target propagation from the logits, t_L = h_L - alpha dL/dh_L, and

    delta_l = (h_l - t_l) / alpha,   l < L        delta_L = dL/dh_L

    l_drl   Ernoult et al. 2022: with noises e and n of a deviation sigma, g_l descends
            - 2 <e, g_l(f_l(h_{l-1} + e)) - g_l(h_l)> + |g_l(h_l + n) - g_l(h_l)|^2
            summed over units, averaged over the batch (here over sigma^2, too): as sigma goes to 0
            that is E |J_g - J_f^T|^2 but for what g_l does not change. Theirs are normal, ours
            -sigma or sigma: of equal means, estimates of traces that vary less (Hutchinson 1989),
            and a twentieth of the work to draw. That of a state is n of its own inverse and e of
            the one above
    fw_dtp  Shibuya et al. 2023: V_l and c_l are fixed. Its form with batch normalisation couples
            the examples of a batch, and is left out; ours starts as Glorot's times feedback_scale,
            with c_l = 0

With the matched inverse (`bioprop.rules.inverses`) V_l = W_l makes the first backpropagation as
alpha goes to 0, and V_l - W_l decays to 0, a unit's at the rate of its mean squared slope: L-DRL is
a weight mirror with targets on top (our derivation).
"""

from collections.abc import Callable

import jax.numpy as jnp

from bioprop.errors import UserError
from bioprop.rules import inverses
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.feedback_alignment import SCALE
from bioprop.rules.target_propagation import by_difference, started

ALPHA = Hyperparameter('alpha', 0.1, 0.01, 1.0, log=True, least=0)
SIGMA = Hyperparameter('sigma', 0.1, 0.01, 0.4, log=True, least=0)


def per_step(displacements: Callable) -> Callable:
    """Signals: the displacements of a step alpha, for each unit of it; the task's at the top."""

    def signals(network, weights, states, context):
        alpha = context.hparam('alpha', len(network.layers))
        hidden = [moved / alpha for moved in displacements(network, weights, states, context)]
        return (*hidden, context.error(states))

    return signals


def l_drl(start: str = 'logits', inverse: str | Callable = 'before', samples: int = 1) -> Rule:
    """Local difference reconstruction, of some samples of the noise in every step.

    The authors take many steps of g_l to a minibatch (feedback_steps). They have no c_l; here it
    has no gradient but by inverse='after'. start is as in `dtp`. Raises UserError for another
    option.
    """
    g = inverses.named(inverse)
    if samples < 1:
        raise UserError(f'samples must be at least 1, not {samples}')
    top, displacements = started(start, by_difference(g))

    def init(key, network, forward):
        return inverses.init_inverses(key, network, top(network)), ()

    def of_layer(network, weights, states, context, l, sample):
        """The loss of g_l."""
        x, h, layers = states[l - 1], states[l], len(network.layers)
        sigma, place = context.hparam('sigma', l), (layers + 1) * sample
        below, above = context.signs(place + l - 1, x), context.signs(place + l, h)
        up = network.layers[l - 1].apply(weights['forward'][l - 1], x + sigma * below)
        along = g.difference(network, weights, l, up, h) / sigma
        across = g.difference(network, weights, l, h + sigma * above, h) / sigma
        return (jnp.sum(jnp.square(across)) - 2 * jnp.sum(below * along)) / len(x)

    def feedback_loss(network, weights, states, context):
        losses = [
            of_layer(network, weights, states, context, l, sample)
            for l in range(2, top(network) + 1)
            for sample in range(samples)
        ]
        return sum(losses) / samples

    def inverse_of_state(network, weights, context, l, x, h):
        return g.apply(network, weights, l, h)

    return Rule(
        init, per_step(displacements), feedback_loss, hparams=(ALPHA, SIGMA),
        displacements=displacements, inverse=inverse_of_state,
        feedback_kernels=inverses.inverse_kernels,
    )  # fmt: skip


def fw_dtp(inverse: str | Callable = 'after') -> Rule:
    """Fixed-weight difference target propagation. Raises UserError for another option."""
    _, descended = started('logits', by_difference(inverses.named(inverse)))

    def init(key, network, forward):
        return (), inverses.init_inverses(key, network, len(network.layers))

    def scaled(weights, context):
        """The weights with the fixed inverses in the place of those that learn."""
        feedback = tuple(
            own and own | {'kernel': context.hparam('feedback_scale', l) * own['kernel']}
            for l, own in enumerate(weights['fixed'], start=1)
        )
        return weights | {'feedback': feedback}

    def displacements(network, weights, states, context):
        return descended(network, scaled(weights, context), states, context)

    def feedback_kernels(network, weights):
        return inverses.inverse_kernels(network, weights | {'feedback': weights['fixed']})

    return Rule(
        init, per_step(displacements), hparams=(ALPHA, *SCALE), displacements=displacements,
        feedback_kernels=feedback_kernels,
    )  # fmt: skip
