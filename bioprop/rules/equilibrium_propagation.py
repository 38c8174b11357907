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
from bioprop.rules.relaxation import relax

HPARAMS = (
    Hyperparameter('beta', 0.5, 0.05, 1.0, log=True, least=0),
    Hyperparameter('gamma', 0.1, 0.02, 0.5, log=True, least=0),
)


def equilibrium_propagation(
    free_steps: int = 20, nudged_steps: int = 12, centred: bool = True
) -> Rule:
    """Equilibrium propagation; steps are sweeps of the free and of each nudged phase.

    gamma, the strength of what comes from above, decides whether the net settles: 0.1 does on five
    layers of 256 at Glorot's start, 0.5 on one hidden layer.
    """

    def infer(network, weights, context):
        states = network.states(weights['forward'], context.batch['image'])
        gamma = context.hparam('gamma', len(network.layers))
        return relax(network, weights['forward'], states, gamma, free_steps)

    def updates(network, weights, states, context):
        top = len(network.layers)
        beta, gamma = (context.hparam(name, top) for name in ('beta', 'gamma'))
        label = context.batch['label']

        def nudged(beta):
            def nudge(h):
                return beta * context.loss.error(h, label)

            return relax(network, weights['forward'], states, gamma, nudged_steps, nudge)

        away, width = (nudged(-beta), 2 * beta) if centred else (states, beta)
        pairs = list(zip(away, nudged(beta), strict=True))
        layers = zip(network.layers, weights['forward'], pairs, pairs[1:], strict=False)
        forward = tuple(
            difference(layer, params, pre, post, gamma ** (l - top) / width, still=l == 1)
            for l, (layer, params, pre, post) in enumerate(layers, start=1)
        )
        return {'forward': forward, 'feedback': ()}

    return Rule(no_feedback, updates=updates, infer=infer, hparams=HPARAMS)


def difference(layer, params, pre, post, factor, still):
    """factor [H(post_0, pre_0) - H(post_1, pre_1)] of a layer, as {'kernel', 'bias'}.

    By the midpoint form H(dpost, mean pre) + H(mean post, dpre), which loses no digits to the
    difference of two large products; the bias goes with the first. still: pre are equal.
    """
    (x, y), (a, b) = pre, post
    moved = layer.correlation(params, (x + y) / 2, factor * (a - b))
    if still:
        return moved
    other = layer.correlation(params, x - y, factor * ((a + b) / 2))
    return moved | {'kernel': moved['kernel'] + other['kernel']}
