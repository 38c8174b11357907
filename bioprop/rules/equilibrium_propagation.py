"""Equilibrium propagation (Scellier and Bengio 2017).

The net relaxes freely, to h^0, and is read there. Nudged by -beta and +beta towards the label it
relaxes to h^- and h^+, and learns by what the two differ by (Laborieux et al. 2021). For H(post,
pre) the mean of post (x) pre over the batch, and the factor gamma^(l-L) / (2 beta) before each:

    energy        H(h_l^-, h_{l-1}^-) - H(h_l^+, h_{l-1}^+)
    vector_field  H(h_l^- - h_l^+, h_{l-1}^0)                             (Scellier et al. 2018)
    stdp          sum over sweeps t of H(h_l^t - h_l^{t+1}, h_{l-1}^t), of the way to h^+ less that
                  to h^-: pre times the rate of change of post            (Bengio et al. 2017)

The first is minus the derivative of the energy of `bioprop.rules.relaxation`, and tends to the
gradient of the loss at the free fixed point, with an error of order beta^2. The second is the part
of it that comes of the way up alone, to which the third tends with beta. One-sided, h^0 takes the
place of h^-, and beta that of 2 beta: the order is 1; with random_sign every batch draws the sign
of its nudge. As gamma goes to 0 the free phase is the forward pass, and the update that of
backpropagation.
"""

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.base import Hyperparameter, Rule, no_feedback, random_signs
from bioprop.rules.hebbian import contrast, driven
from bioprop.rules.relaxation import GAMMA, end_of, free_phase, sweeps

BETA = Hyperparameter('beta', 0.5, 0.05, 1.0, log=True, least=0)
NUDGES, FORMS = ('centred', 'one_sided', 'random_sign'), ('energy', 'vector_field', 'stdp')


def equilibrium_propagation(
    nudge: str = 'centred', form: str = 'energy', free_steps: int = 20, nudged_steps: int = 12
) -> Rule:
    """Equilibrium propagation; steps are sweeps of the free and of each nudged phase.

    gamma, the strength of what comes from above, decides whether the net settles: 0.1 does on five
    layers of 256 at Glorot's start, 0.5 on one hidden layer. Raises UserError for another option.
    """
    if nudge not in NUDGES:
        raise unknown('nudge', nudge, NUDGES)
    if form not in FORMS:
        raise unknown('form', form, FORMS)

    def infer(network, weights, context):
        return free_phase(network, weights, context, free_steps)

    def way(network, weights, states, context, beta):
        """The update along the way that a nudge of beta takes."""
        gamma, how = context.hparam('gamma', len(network.layers)), towards(context, beta)

        def sweep(carry, _):
            h, total = carry
            moved = sweeps(network, weights, h, context, 1, **how)
            update = driven(network, weights['forward'], h, h, moved, gamma)
            return (moved, jax.tree.map(jnp.add, total, update)), None

        start = states, jax.tree.map(jnp.zeros_like, weights['forward'])
        return jax.lax.scan(sweep, start, None, length=nudged_steps)[0][1]

    def updates(network, weights, states, context):
        found, forward = (network, weights, states, context), weights['forward']
        beta, gamma = (context.hparam(name, len(network.layers)) for name in ('beta', 'gamma'))
        if nudge == 'random_sign':
            beta *= random_signs(jax.random.fold_in(context.key, 0), (), beta.dtype)

        def learned(beta):
            if form == 'stdp':
                return way(*found, beta)
            near = sweeps(*found, nudged_steps, **towards(context, beta))
            if form == 'energy':
                return contrast(network, forward, states, near, gamma)
            return driven(network, forward, states, states, near, gamma)

        update, width = learned(beta), beta
        if nudge == 'centred':
            update, width = jax.tree.map(jnp.subtract, update, learned(-beta)), 2 * beta
        return {'forward': jax.tree.map(lambda u: u / width, update), 'feedback': ()}

    def phases(network, weights, states, context):
        found, beta = (network, weights, states, context), context.hparam('beta', len(states) - 1)
        return {
            'free': end_of(*found, 0),
            'taught': end_of(*found, nudged_steps, **towards(context, beta)),
        }

    return Rule(no_feedback, updates=updates, infer=infer, phases=phases, hparams=(BETA, GAMMA))


def towards(context, beta) -> dict:
    """Of `relax`: the top nudged by beta."""
    return {'settle': lambda a, h: a - beta * context.loss.error(h, context.batch['label'])}
