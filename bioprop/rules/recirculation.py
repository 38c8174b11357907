"""Recirculation (Hinton and McClelland 1987): hidden layers learn to give back what comes in.

Around the loop of every hidden layer, v_0 = h_{l-1} and h_1 = h_l:

    v_2 = lam v_0 + (1 - lam) g_l(h_1),   g_l(h) = s_{l-1}(T_l(V_l, h) + c_l), linear for l = 1
    h_3 = lam h_1 + (1 - lam) f_l(v_2)
    dW_l = (h_3 - h_1) v_2        dV_l = (v_2 - v_0) h_1, c_l likewise

The top layer descends the task's loss: unsupervised features under a read-out, whose control is
`shallow`, hidden layers as drawn. Hidden layers learn hidden_rate times as fast: features that keep
moving, as under Adam, which takes steps of one size however near they are to rest, are worse than
those that were drawn. With V = W and linear v, dW_l tends to (1 - lam)^2 times the
gradient of |v_0 - g_l(f_l(v_0))|^2 / 2 as lam goes to 1. The abstract was seen, the equations are
remembered.
"""

import jax
import jax.numpy as jnp

from bioprop.layers import add_bias
from bioprop.layers.base import ACTIVATIONS
from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.transforms import of_hidden

LAM = Hyperparameter('lam', 0.75, 0.5, 0.99, least=0)
HIDDEN_RATE = Hyperparameter('hidden_rate', 0.3, 0.01, 1.0, log=True, least=0)
LINEAR = ACTIVATIONS['linear'].function


def recirculation() -> Rule:
    """Recirculation; V_l is drawn like W_l, c_l begins at 0."""

    def init(key, network, forward):
        visible = [network.in_shape, *(layer.bias_shape for layer in network.layers)]
        drawn = [
            {
                'kernel': layer.init_kernel(jax.random.fold_in(key, l)),
                'bias': jnp.zeros(visible[l]),
            }
            for l, layer in enumerate(network.layers[:-1])
        ]
        return (*drawn, None), ()

    def around(network, weights, states, context, l):
        """The updates of W_l and V_l."""
        layer, params = network.layers[l - 1], weights['forward'][l - 1]
        visible = LINEAR if l == 1 else network.layers[l - 2].activation
        lam, first, hidden = context.hparam('lam', l), states[l - 1], states[l]

        def down(own):
            return add_bias(layer.transpose(own['kernel'], hidden), own['bias'])

        back, pullback = jax.vjp(down, weights['feedback'][l - 1])
        again = lam * first + (1 - lam) * visible(back)
        error = (1 - lam) * (layer.apply(params, again) - hidden)
        (feedback,) = pullback((again - first) / len(first))
        return layer.correlation(params, again, error), feedback

    def updates(network, weights, states, context):
        hidden = range(1, len(network.layers))
        rounds = [around(network, weights, states, context, l) for l in hidden]
        forward, feedback = zip(*rounds, strict=True)
        top = network.layers[-1].update(
            weights['forward'][-1], states[-2], states[-1], context.error(states)
        )
        return {'forward': (*forward, top), 'feedback': (*feedback, None)}

    return Rule(
        init, updates=updates, hparams=(LAM, HIDDEN_RATE),
        transforms=(('forward', lambda hparams: of_hidden(hparams['hidden_rate'])),),
    )  # fmt: skip
