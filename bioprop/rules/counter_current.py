"""Counter-current learning (Kao and Hariharan 2024): a second net runs from the labels down.

    b_L = the K one-hot labels        b_{l-1} = s_{l-1}(V_l^T b_l)

Layer l of both nets descends the distance of their products to whether the classes agree,

    scale / (2 K units) |h_l b_l^T - Y|^2,    l < L,    summed over classes, averaged over the batch

with what enters a layer held still; the top layer descends the task's loss. This is the loss of the
authors' code for fully connected nets, at scale 256; their paper writes normalised activities of
examples, and their convolutional nets add terms that couple the examples of a batch.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.kernel_feedback import feedback_kernels, init_feedback

SCALE = Hyperparameter('scale', 256.0, 16.0, 1024.0, log=True, least=0)


def counter_current() -> Rule:
    """Counter-current learning; V_l has the shape of W_l and no bias."""

    def excess(states, context, l, b):
        """(h_l b_l^T - Y, the factor of layer l, b_l as rows)."""
        h, b = states[l].reshape(len(states[l]), -1), b.reshape(len(b), -1)
        same = jax.nn.one_hot(context.batch['label'], len(b), dtype=h.dtype)
        return h @ b.T - same, context.hparam('scale', l) / b.size, b

    def signals(network, weights, states, context):
        hidden = []
        for l, b in enumerate(descended(network, weights), start=1):
            differences, factor, b = excess(states, context, l, b)
            hidden.append((factor * differences @ b).reshape(states[l].shape))
        return (*hidden, context.error(states))

    def feedback_loss(network, weights, states, context):
        """The summed losses of the second net's layers."""
        states, loss = jax.lax.stop_gradient(states), 0.0
        for l, b in enumerate(descended(network, weights), start=1):
            differences, factor, _ = excess(states, context, l, b)
            loss += factor / 2 * jnp.sum(jnp.square(differences)) / len(states[0])
        return loss

    return Rule(
        init_feedback, signals, feedback_loss, hparams=(SCALE,), feedback_kernels=feedback_kernels
    )


def descended(network, weights):
    """(b_1, ..., b_{L-1}), each (K, *out_shape), with what it is made of held still."""
    kernels, found = feedback_kernels(network, weights), []
    b = jnp.eye(network.out_shape[0], dtype=kernels[-1].dtype)
    for l in range(len(network.layers), 1, -1):
        back = network.layers[l - 1].transpose(kernels[l - 1], jax.lax.stop_gradient(b))
        b = network.layers[l - 2].activation(back)
        found.append(b)
    return tuple(reversed(found))
