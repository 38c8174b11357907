"""Feedback against the forward weights, and the Jacobians of inverses against those of layers."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.comparison import by_layer, compare, compare_whole
from bioprop.diagnostics.differentials import jvp
from bioprop.diagnostics.probe import Found, Probe, named
from bioprop.diagnostics.reconstruction import inverted, there_and_back

DIRECTIONS = 16  # random ones that a Jacobian is seen through


def alignment(probe: Probe) -> Found:
    """Angle and norm ratio of what takes the place of W_l on the way down to W_l."""
    if not probe.rule.feedback_kernels:
        return {}
    kernels = probe.rule.feedback_kernels(probe.network, probe.weights)
    pairs = enumerate(zip(kernels, probe.weights['forward'], strict=True), start=1)
    compared = {
        l: compare_whole(kernel, params['kernel'])
        for l, (kernel, params) in pairs
        if kernel is not None
    }
    if not compared:
        return {}
    places, found = by_layer(compared)
    ratios = named('alignment_ratio', places, found.ratio)
    return named('alignment_angle', places, found.angle) | ratios


def jacobian(probe: Probe, directions: int = DIRECTIONS) -> Found:
    """Angle of the Jacobian of g_l at h_l to the transposed one of f_l at h_{l-1}, per example.

    And the ratio of their norms over the batch. Where they are equal, difference targets are those
    of backpropagation (Ernoult et al. 2022, the Jacobian matching condition). Both are seen through
    random directions v at h_l: the inner product of matrices A and B is the mean of <A v, B v>.
    """
    if not inverted(probe):
        return {}
    places, found = by_layer({l: compare(*_seen(probe, l, directions)) for l in inverted(probe)})
    ratios = named('jacobian_ratio', places, probe.ratio(found))
    return probe.spread('jacobian_angle', places, found.angle) | ratios


def _seen(probe, l, directions):
    """J_g v and J_f^T v of layer l for random v: (examples, directions, ...) each."""
    x, h = probe.states[l - 1], probe.states[l]
    layer, params = probe.network.layers[l - 1], probe.weights['forward'][l - 1]
    key = jax.random.fold_in(probe.context.key, len(probe.states) + l)  # not that of the noise
    v = jax.vmap(lambda key: probe.context._replace(key=key).noise(l, h))(
        jax.random.split(key, directions)
    )
    _, pullback = jax.vjp(lambda x: layer.apply(params, x), x)
    push = jvp(lambda h: there_and_back(probe, l, x, h), h)
    pairs = jax.lax.map(lambda v: (push(v), pullback(v)[0]), v)
    return [jnp.moveaxis(each, 0, 1) for each in pairs]
