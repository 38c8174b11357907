"""DTPDRL (Meulemans et al. 2020): inverses that learn to reconstruct through all layers above.

    g_l(y) = s_{l-1}(V_l y + c_l);   targets and signals as in `difference_reconstruction`

With e ~ sigma N(0, 1) the state h~ = h_{l-1} + e goes up to the logits r_L, and comes down by

    r_{k-1} = h_{k-1} + g_k(r_k) - g_k(h_k),   k = L, ..., l

g_l descends |(r_{l-1} - h~) / sigma|^2, the mean over units and batch; all g_k above it are held
still. Where it is least, all of them together are the Gauss-Newton inverse of the layers above.
"""

from jax.lax import stop_gradient

from bioprop.rules import inverses
from bioprop.rules.base import Rule
from bioprop.rules.difference_reconstruction import ALPHA, per_step
from bioprop.rules.direct_targets import SIGMA, flat, mean_square, noisy_outputs
from bioprop.rules.target_propagation import by_difference, started

AFTER = inverses.INVERSES['after']


def dtp_drl() -> Rule:
    """Difference target propagation with the difference reconstruction loss."""

    def init(key, network, forward):
        return inverses.init_inverses(key, network, len(network.layers)), ()

    def feedback_loss(network, weights, states, context):
        """Of all layers; what comes down from the highest start ends first."""
        still = weights | {'feedback': stop_gradient(weights['feedback'])}
        sigmas = [context.hparam('sigma', l) for l in range(2, len(network.layers) + 1)]
        noises, down = noisy_outputs(network, weights, states, context, sigmas)
        loss = 0.0
        for l in range(len(network.layers), 1, -1):
            *others, own = down
            move = AFTER.difference(network, weights, l, own, states[l])
            loss += mean_square(flat(move) / sigmas[l - 2] - noises[l - 2])
            down = [
                states[l - 1] + AFTER.difference(network, still, l, other, states[l])
                for other in others
            ]
        return loss

    def inverse_of_state(network, weights, context, l, x, h):
        return AFTER.apply(network, weights, l, h)

    _, displacements = started('logits', by_difference(AFTER))
    return Rule(
        init, per_step(displacements), feedback_loss, hparams=(ALPHA, SIGMA),
        displacements=displacements, inverse=inverse_of_state,
        feedback_kernels=inverses.inverse_kernels,
    )  # fmt: skip
