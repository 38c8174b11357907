"""Direct feedback: one teaching vector t of the outputs, sent straight to every hidden layer.

    delta_l = B_l t,   l < L        delta_L = dL/dh_L

    dfa        t = dL/dh_L            direct feedback alignment (Nokland 2016)
    sign_dfa   t = sign(dL/dh_L)      (Frenkel, Lefebvre and Bol 2021)
    drtp       t = y, the label       direct random target projection (the same paper); as in its
                                      code without a minus, and alike for all examples of a class

Under a softmax sign(e) is 1 - 2 y: sign DFA is then DRTP through B (1 1^T - 2), and hidden layers
hear of the label alone.

B_l is dense, (units of layer l, outputs), Glorot-uniform, fixed, and scaled by the hyperparameter
`feedback_scale`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.rules.base import Rule, no_feedback
from bioprop.rules.feedback_alignment import SCALE
from bioprop.rules.random_matrix import draw, project

KINDS = ('stored', 'regenerated')


def dfa(feedback: str = 'stored') -> Rule:
    """Direct feedback alignment.

    With feedback='regenerated' B_l is drawn from its key again in every step, a block of units at a
    time: the same numbers, and no array of that size. The fixed weights are then the keys. Raises
    UserError for another kind.
    """
    return _direct(lambda states, context: context.error(states), feedback)


def sign_dfa(feedback: str = 'stored') -> Rule:
    """The signs of the error alone; feedback as in `dfa`."""
    return _direct(lambda states, context: jnp.sign(context.error(states)), feedback)


def drtp(feedback: str = 'stored') -> Rule:
    """Direct random target projection: hidden layers never hear of the output; as in `dfa`."""
    return _direct(
        lambda states, context: context.loss.optimum(states[-1], context.batch['label']), feedback
    )


def shallow() -> Rule:
    """The hidden layers stay as they were drawn: what every rule must be better than."""

    def signals(network, weights, states, context):
        return (*map(jnp.zeros_like, states[1:-1]), context.error(states))

    return Rule(no_feedback, signals)


def _direct(teach: Callable, feedback: str) -> Rule:
    """teach: (states, context) -> t, (batch, outputs)."""
    if feedback not in KINDS:
        raise unknown('feedback', feedback, KINDS)
    stored = feedback == 'stored'

    def shapes(network):
        outputs = network.out_shape[0]
        return [(math.prod(layer.out_shape), outputs) for layer in network.layers[:-1]]

    def init(key, network, forward):
        keys = [jax.random.fold_in(key, index) for index in range(len(network.layers) - 1)]
        made = map(draw, keys, shapes(network)) if stored else keys
        return (), (*made, None)

    def signals(network, weights, states, context):
        teaching, hidden = teach(states, context), []
        layers = zip(weights['fixed'][:-1], shapes(network), strict=True)
        for l, (b, shape) in enumerate(layers, start=1):
            delta = teaching @ b.T if stored else project(b, shape, teaching)
            hidden.append(context.hparam('feedback_scale', l) * delta.reshape(states[l].shape))
        return (*hidden, context.error(states))

    def feedback_kernels(network, weights):
        """B_{l-1} B_l^T on the connections of layer l, and B_{L-1} at the top (B_L = I).

        What W_l aligns with (Refinetti et al. 2021, Align, then memorise).
        """
        keys = weights['fixed'][:-1]
        paths = keys if stored else map(draw, keys, shapes(network))
        paths = (*paths, jnp.eye(network.out_shape[0]))

        def kernel(layer, below, above):
            _, pullback = jax.vjp(
                lambda kernel: layer.linear(kernel, below.T.reshape(-1, *layer.in_shape)),
                jnp.zeros(layer.kernel_shape, below.dtype),
            )
            return pullback(above.T.reshape(-1, *layer.out_shape))[0]

        return (None, *map(kernel, network.layers[1:], paths[:-1], paths[1:]))

    return Rule(init, signals, hparams=SCALE, feedback_kernels=feedback_kernels)
