"""Product feedback alignment (Li and Benna 2024): feedback through two matrices.

    c_l = s'_l * delta_l        m_l = c_l M_l        delta_{l-1} = R_l m_l

M_l is fixed, from the features of layer l to `ratio` times as many, at every place alike; R_l has
the shape of W_l with so many features, and learns dR_l = h_{l-1} (x) m_l. As E[M M^T] = I, R M^T
takes the steps of W: with M M^T = I, SGD and one rate and decay on both sides R_l M_l^T - W_l
shrinks by (1 - lr * weight_decay) a step, as in Kolen-Pollack, and no kernel is ever copied.
"""

import math

import jax
import jax.numpy as jnp

from bioprop.rules.base import Rule, forward_updates


def product_fa(ratio: int = 4) -> Rule:
    """Product feedback alignment; the authors have a ratio of 10 (their configuration)."""

    def init(key, network, forward):
        kernels, mixers = [], []
        for l, layer in enumerate(network.layers[1:]):
            key_kernel, key_mixer = jax.random.split(jax.random.fold_in(key, l))
            features = layer.kernel_shape[-1]
            start = jax.random.split(key_kernel, ratio)
            wide = [layer.init_kernel(each) for each in start]
            kernels.append({'kernel': jnp.concatenate(wide, axis=-1)})
            width = ratio * features
            mixers.append(jax.random.normal(key_mixer, (features, width)) / math.sqrt(width))
        return (None, *kernels), (None, *mixers)

    def mixed(network, weights, states, context):
        """((delta_1, ..., delta_L), (m_2, ..., m_L))."""
        deltas, middles = [context.error(states)], []
        for l in range(len(network.layers), 1, -1):
            layer = network.layers[l - 1]
            middles.append((layer.slope(states[l]) * deltas[-1]) @ weights['fixed'][l - 1])
            deltas.append(layer.transpose(weights['feedback'][l - 1]['kernel'], middles[-1]))
        return tuple(reversed(deltas)), tuple(reversed(middles))

    def signals(network, weights, states, context):
        return mixed(network, weights, states, context)[0]

    def updates(network, weights, states, context):
        deltas, middles = mixed(network, weights, states, context)
        pairs = zip(network.layers[1:], weights['feedback'][1:], states[1:-1], middles, strict=True)
        learned = [{'kernel': _gradient(layer, own['kernel'], h, m)} for layer, own, h, m in pairs]
        forward = forward_updates(network, weights['forward'], states, deltas)
        return {'forward': forward, 'feedback': (None, *learned)}

    def feedback_kernels(network, weights):
        pairs = zip(weights['feedback'][1:], weights['fixed'][1:], strict=True)
        return (None, *(own['kernel'] @ mixer.T for own, mixer in pairs))

    return Rule(init, signals, updates=updates, feedback_kernels=feedback_kernels)


def _gradient(layer, kernel, x, a):
    """The VJP of `linear` at the kernel, applied to a and averaged over the batch."""
    _, pullback = jax.vjp(lambda kernel: layer.linear(kernel, x), kernel)
    return pullback(a)[0] / len(x)
