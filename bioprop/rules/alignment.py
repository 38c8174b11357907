"""Feedback that is drawn to the weights by a scalar of its own layer (Kunin et al. 2020).

    delta_{l-1} = B_l (s'_l * delta_l)        B_l descends R_l, of layer l alone

    symmetric_alignment    R = shrink/2 |B|^2 - pull <B, W>
    activation_alignment   R = shrink/2 |F(B, h)|^2 - pull <F(B, h), F(W, h)>,   h = h_{l-1}
    weight_mirror          R = shrink/2 |B|^2 - pull <F(B, x), F(W, x)>          x = noise
    information_alignment  R = 1/2 |T(B, F(W, h))|^2 - pull <F(B, h), F(W, h)> + shrink/2 |B|^2

F and T are the layer's `linear` and `transpose`; sums are over units, means over the batch. The
first two come to rest at B = (pull / shrink) W. So does the mirror (Akrout et al. 2019), as its
outputs are linear here (a nonlinear one, as in its own code, gives every unit a gain): on dense and
locally connected layers, for in a convolution the tap that lies on n places is drawn n times as
strongly. The last, without shrink and on white h, rests at the inverse pinv(W)^T and not at W: it
is the inverse loss of target propagation with a linear g. Kunin's code has no 1/2 before squares.

An optimiser that scales each entry, such as Adam, shifts where these scalars rest.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.kernel_feedback import descend_feedback, feedback_kernels, init_feedback

PULL = Hyperparameter('pull', 1.0, 0.1, 10, log=True, least=0)
SHRINK = Hyperparameter('shrink', 1.0, 0.1, 10, log=True, least=0)


def symmetric_alignment() -> Rule:
    """Towards W itself: weight transport, spread over time."""

    def scalar(layer, b, w, h, noise, pull, shrink):
        return shrink / 2 * jnp.sum(jnp.square(b)) - pull * jnp.sum(b * w)

    return _aligned(scalar)


def activation_alignment() -> Rule:
    """Towards what W makes of the activities; it holds on convolutions, too."""

    def scalar(layer, b, w, h, noise, pull, shrink):
        up = layer.linear(b, h)
        return shrink / 2 * _mean(up, up) - pull * _mean(up, layer.linear(w, h))

    return _aligned(scalar)


def weight_mirror() -> Rule:
    """Towards the correlation of a noise of variance 1 with what W makes of it."""

    def scalar(layer, b, w, h, noise, pull, shrink):
        correlation = _mean(layer.linear(b, noise), layer.linear(w, noise))
        return shrink / 2 * jnp.sum(jnp.square(b)) - pull * correlation

    return _aligned(scalar)


def information_alignment() -> Rule:
    """Towards an inverse of the layer; shrink is 0 by default."""

    def scalar(layer, b, w, h, noise, pull, shrink):
        a = layer.linear(w, h)
        back = layer.transpose(b, a)
        decay = shrink / 2 * jnp.sum(jnp.square(b))
        return _mean(back, back) / 2 - pull * _mean(layer.linear(b, h), a) + decay

    return _aligned(scalar, SHRINK._replace(default=0.0, low=None, high=None, log=False))


def _aligned(scalar: Callable, shrink: Hyperparameter = SHRINK) -> Rule:
    """scalar: (layer, B_l, W_l, h_{l-1}, noise like it, pull, shrink) -> R_l."""

    def feedback_loss(network, weights, states, context):
        """R_2 + ... + R_L."""
        forward, states = jax.lax.stop_gradient((weights['forward'], states))
        return sum(
            scalar(
                layer, weights['feedback'][l - 1]['kernel'], forward[l - 1]['kernel'],
                states[l - 1], context.noise(l, states[l - 1]),
                context.hparam('pull', l), context.hparam('shrink', l),
            )
            for l, layer in enumerate(network.layers[1:], start=2)
        )  # fmt: skip

    return Rule(
        init_feedback, descend_feedback, feedback_loss,
        hparams=(PULL, shrink), feedback_kernels=feedback_kernels,
    )  # fmt: skip


def _mean(x, y):
    """<x, y>, over the batch."""
    return jnp.sum(x * y) / len(x)
