"""PEPITA (Dellaferrera and Kreiman 2022): the error changes the input, and a second pass teaches.

    h'_0 = x + F e,   e = dL/dh_L of the first pass        h'_l = f_l(h'_{l-1})
    dW_l = h'_{l-1} (x) (h_l - h'_l),   l < L              dW_L = h'_{L-1} (x) e

F, (inputs, outputs), is fixed and random; no slope is taken. As F e becomes small, (h_l - h'_l) is
minus the tangent of h_l along it. The paper has the first pass's error at the top, as here; its
code, in fully connected nets, that of the second. The code's nets have no biases, ours learn theirs
alike.
"""

import math

import jax

from bioprop.rules.base import Hyperparameter, Rule, correlations

# Of He's uniform draw; for pixels in [0, 1], as in the authors' code.
SCALE = Hyperparameter('feedback_scale', 0.05, 0.01, 1.0, log=True, least=0)


def pepita() -> Rule:
    """PEPITA; evaluation is the forward pass."""

    def init(key, network, forward):
        inputs = math.prod(network.in_shape)
        limit, shape = math.sqrt(6 / inputs), (inputs, network.out_shape[0])
        return (), jax.random.uniform(key, shape, minval=-limit, maxval=limit)

    def updates(network, weights, states, context):
        error = context.error(states)
        push = context.hparam('feedback_scale', 1) * error @ weights['fixed'].T
        image = states[0] + push.reshape(states[0].shape)
        again = network.states(weights['forward'], image)
        deltas = [h - other for h, other in zip(states[1:-1], again[1:-1], strict=True)]
        forward = correlations(network, weights['forward'], again[:-1], (*deltas, error))
        return {'forward': forward, 'feedback': ()}

    return Rule(init, updates=updates, hparams=(SCALE,))
