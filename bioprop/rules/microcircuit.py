"""Dendritic microcircuits (Sacramento et al. 2018), in the two steps that they take on MNIST.

Every layer has an interneuron for each unit of the layer above, which predicts it, and takes its
place in the apical dendrites v_l: what was not predicted is the error. For tanh units:

    i_{l+1} = s_{l+1}(P_{l+1} h_l + p_{l+1})
    v_l     = D_{l+1}^T (h*_{l+1} - i_{l+1}),   l < L      h*_L = h_L - nudge dL/dh_L
    h*_l    = s_l(s_l^{-1}(h_l) + lam v_l)
    delta_l = -v_l / (nudge lam^(L-1-l)),   l < L          delta_L = dL/dh_L

P and p learn to predict h*_{l+1} from h_l: (i_{l+1} - h*_{l+1}) (x) h_l. D and the inhibition -D
are fixed, as in the paper's MNIST, and P = W and p = b at the start, the self-predicting state, in
which no error is no signal. There, with D = W, it is backpropagation as nudge goes to 0, by its
first power. P must keep pace with W: its rate is twice the forward one. Interneurons are not drawn
towards their targets themselves; of the full dynamics this is the steady state for small lam.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.kernel_feedback import init_fixed_feedback

LAM = Hyperparameter('lam', 1.0, 0.1, 1.0, least=0)
NUDGE = Hyperparameter('nudge', 1.0, 0.1, 1.0, log=True, least=0)


def microcircuit() -> Rule:
    """Dendritic microcircuits, for activation=tanh."""

    def init(key, network, forward):
        copies = jax.tree.map(jnp.copy, tuple(forward[1:]))  # arrays of their own, to be donated
        return (None, *copies), init_fixed_feedback(key, network, forward)[1]

    def descended(network, weights, states, context):
        """Of l = L-1, ..., 1: v_l, h*_{l+1} and the potentials of its interneurons."""
        nudge, lam = (context.hparam(name, len(network.layers)) for name in ('nudge', 'lam'))
        above, found = states[-1] - nudge * context.error(states), []
        for l in range(len(network.layers) - 1, 0, -1):
            layer = network.layers[l]
            potential = layer.potential(weights['feedback'][l], states[l])
            error = above - layer.activation(potential)
            v = layer.transpose(weights['fixed'][l]['kernel'], error)
            found.append((v, above, potential))
            above = shifted(states[l], lam * v)
        return found

    def signals(network, weights, states, context):
        nudge, lam = (context.hparam(name, len(network.layers)) for name in ('nudge', 'lam'))
        found = descended(network, weights, states, context)
        hidden = [-v / (nudge * lam**depth) for depth, (v, *_) in enumerate(found)]
        return (*hidden[::-1], context.error(states))

    def feedback_loss(network, weights, states, context):
        """sum Phi(a) - h* a, Phi' = s: its gradient by a is the error of the prediction."""
        loss, found = 0.0, descended(network, weights, states, context)
        for depth, (_, above, a) in enumerate(found):
            integral = jnp.logaddexp(a, -a) if depth else jnp.square(a) / 2  # tanh; a linear top
            loss += jnp.sum(integral - jax.lax.stop_gradient(above) * a) / len(a)
        return loss

    return Rule(init, signals, feedback_loss, hparams=(LAM, NUDGE))


def shifted(h, x):
    """tanh(arctanh(h) + x)."""
    return (h + jnp.tanh(x)) / (1 + h * jnp.tanh(x))
