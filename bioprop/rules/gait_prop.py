"""GAIT propagation (Ahmad, van Gerven and Ambrogioni 2020): targets through exact inverses.

    t_{l-1} = f_l^{-1}((1 - gamma s'_l^2) h_l + gamma s'_l^2 t_l)

in the limit gamma -> 0 that the authors approach, in which nothing is left of two near numbers:

    delta_{l-1} = W_l^{-1} (s'_l * delta_l),   l > 1        delta_L = dL/dh_L

(our derivation). For orthogonal W it is backpropagation, for linear nets J_{L,l} delta_l = dL/dh_L.
A layer with fewer units than the one below has the inverse of its square completion by rows that
are orthogonal to its own, which acts as pinv(W). Square kernels are drawn to orthogonal ones by
Dalm et al.'s regulariser |W W^T - I|^2, as a step of its own behind the optimiser. Until then, some
hundred steps from a random start, signals are too large by factors of many thousands: clip them.
"""

import jax.numpy as jnp

from bioprop.errors import UserError
from bioprop.rules import transforms
from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.linear_algebra import pseudo_inverse

ORTHOGONALITY = Hyperparameter('orthogonality', 0.1, 1e-3, 0.3, log=True, least=0)


def gait_prop() -> Rule:
    """GAIT propagation on dense nets whose widths do not grow.

    `init` raises UserError for another.
    """

    def init(key, network, forward):
        shapes = [layer.kernel_shape for layer in network.layers[1:]]
        if not all(len(shape) == 2 and shape[0] >= shape[1] for shape in shapes):
            raise UserError(
                'gait_prop inverts its layers: above the first they must be dense, and none wider '
                f'than the one below, unlike these kernels: {", ".join(map(str, shapes))}'
            )
        return (), ()

    def signals(network, weights, states, context):
        kernels = [pseudo_inverse(params['kernel']).T for params in weights['forward'][1:]]
        return descend(network, (None, *kernels), states, context.error(states))

    return Rule(
        init, signals, hparams=(ORTHOGONALITY,),
        transforms=(('forward', lambda hparams: transforms.orthogonal(hparams['orthogonality'])),),
    )  # fmt: skip


def with_orthogonal_kernels(problem):
    """The problem in which the kernels above the first have orthonormal columns."""
    first, *others = problem.weights['forward']
    turned = [params | {'kernel': jnp.linalg.qr(params['kernel'])[0]} for params in others]
    weights = problem.weights | {'forward': (first, *turned)}
    return problem._replace(weights=weights)
