"""Equilibrium propagation (Scellier and Bengio 2017).

The net relaxes freely, and is read there. Nudged by -beta and +beta towards the label it relaxes to
h^- and h^+, and the update is what the two differ by (Laborieux et al. 2021):

    dW_l = gamma^(l-L) / (2 beta) [H(h_l^-, h_{l-1}^-) - H(h_l^+, h_{l-1}^+)]

H(post, pre) is the mean of post (x) pre over the batch. It is minus the derivative of the energy of
`bioprop.rules.relaxation`, and tends to the gradient of the loss at the free fixed point, with an
error of order beta^2; one-sided, from h^0 and h^+, of order beta. As gamma goes to 0 the free phase
is the forward pass, and the update backpropagation's.
"""

from bioprop.rules.base import Hyperparameter, Rule, no_feedback
from bioprop.rules.hebbian import contrast
from bioprop.rules.relaxation import GAMMA, free_phase, relax

HPARAMS = (
    Hyperparameter('beta', 0.5, 0.05, 1.0, log=True, least=0),
    GAMMA,
)


def equilibrium_propagation(
    free_steps: int = 20, nudged_steps: int = 12, centred: bool = True
) -> Rule:
    """Equilibrium propagation; steps are sweeps of the free and of each nudged phase.

    gamma, the strength of what comes from above, decides whether the net settles: 0.1 does on five
    layers of 256 at Glorot's start, 0.5 on one hidden layer.
    """

    def infer(network, weights, context):
        return free_phase(network, weights, context, free_steps)

    def updates(network, weights, states, context):
        top = len(network.layers)
        beta, gamma = (context.hparam(name, top) for name in ('beta', 'gamma'))
        label = context.batch['label']

        def nudged(beta):
            def settle(a, h):
                return a - beta * context.loss.error(h, label)

            return relax(network, weights['forward'], states, gamma, nudged_steps, settle)

        away, width = (nudged(-beta), 2 * beta) if centred else (states, beta)
        forward = contrast(network, weights['forward'], away, nudged(beta), gamma, 1 / width)
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates, infer=infer, hparams=HPARAMS)
