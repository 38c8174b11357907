"""The update and the targets against those of the damped Gauss-Newton method.

The Gauss-Newton target of layer l moves h_{L-1} as the rule wants it moved, by as little as can be
(what exact inverses give: Meulemans et al. 2020, A theoretical framework for target propagation):

    d_l = (J^T J + damping)^{-1} J^T d_{L-1},    J = dh_{L-1} / dh_l of the example

and the Gauss-Newton update of all forward weights is

    (G + damping)^{-1} dL/dW,    G = mean over examples of J^T H J,    J = dh_L / dW

with H the curvature of the loss at the logits. Small systems are solved exactly from their
matrices, others by conjugate gradients.
"""

import math

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg

from bioprop.diagnostics.comparison import by_layer, compare, compare_whole, together
from bioprop.diagnostics.differentials import jvp
from bioprop.diagnostics.probe import Found, Probe, named

DAMPING = 1e-3
SMALL_TARGETS = 1 << 16  # entries of one example's Jacobian, at most, to be solved exactly
SMALL_WEIGHTS = 1 << 11  # weights, at most
ITERATIONS, TOLERANCE = 100, 1e-6  # of conjugate gradients


def gauss_newton(
    probe: Probe,
    damping: float = DAMPING,
    small_targets: int = SMALL_TARGETS,
    small_weights: int = SMALL_WEIGHTS,
) -> Found:
    """Angles to Gauss-Newton: 'gauss_newton_angle/layer_l' of the update, and of 'total'.

    'gauss_newton_target_angle/layer_l' is that of the displacement h_l - t_l to d_l, per example,
    for l below L-1.
    """
    newton = weight_update(probe, damping, small_weights)
    pairs = enumerate(zip(probe.updates, newton, strict=True), start=1)
    places, compared = by_layer(
        {l: together(compare_whole(u[kind], v[kind]) for kind in u) for l, (u, v) in pairs}
    )
    found = named('gauss_newton_angle', places, compared.angle)
    for l in probe.hidden[:-1] if probe.displacements else ():
        target = target_displacement(probe, l, damping, small_targets)
        angle = compare(probe.displacements[l - 1], target).angle
        found |= probe.spread('gauss_newton_target_angle', [f'layer_{l}'], angle[None])
    return found


def target_displacement(probe: Probe, l: int, damping: float, small: int) -> jax.Array:
    """d_l, in the shape of h_l."""

    def up(h):
        layers = zip(probe.network.layers, probe.weights['forward'], strict=True)
        for layer, params in list(layers)[l:-1]:
            h = layer.apply(params, h)
        return h

    def one(h, displacement):
        """Of one example."""
        _, pullback = jax.vjp(lambda h: up(h[None])[0], h)
        (gradient,) = pullback(displacement)
        if h.size * displacement.size <= small:
            jacobian = jax.vmap(pullback)(_basis(displacement))[0].reshape(-1, h.size)
            matrix = jacobian.T @ jacobian + damping * jnp.eye(h.size, dtype=h.dtype)
            return _exactly(matrix, gradient.ravel()).reshape(h.shape)
        push = jvp(lambda h: up(h[None])[0], h)
        return _solve(lambda v: pullback(push(v))[0], gradient, damping)

    return jax.vmap(one)(probe.states[l], probe.displacements[-1])


def weight_update(probe: Probe, damping: float, small: int) -> tuple:
    """The Gauss-Newton update of the forward weights, in their structure."""
    forward, batch = probe.weights['forward'], probe.context.batch

    def logits(weights):
        return probe.network.states(weights, batch['image'])[-1]

    _, pullback = jax.vjp(logits, forward)
    push = jvp(logits, forward)
    share = 1 / len(batch['label'])

    def product(v):
        curved = probe.context.loss.curvature(probe.states[-1], batch['label'], push(v))
        return probe.over_devices(pullback(share * curved)[0])

    gradient, as_tree = ravel_pytree(probe.gradient_updates)
    if gradient.size <= small:
        rows = jax.lax.map(lambda v: ravel_pytree(product(as_tree(v)))[0], _basis(gradient))
        matrix = rows + damping * jnp.eye(gradient.size, dtype=gradient.dtype)
        return as_tree(_exactly(matrix, gradient))
    return _solve(product, probe.gradient_updates, damping)


@jax.custom_batching.sequential_vmap
def _exactly(matrix, right):
    """One after another: jaxlib's batched factorisations can lock up the few threads of a CPU."""
    return jax.scipy.linalg.solve(matrix, right, assume_a='pos')


def _solve(product, right, damping):
    """(product + damping)^{-1} right by conjugate gradients."""

    def damped(v):
        return jax.tree.map(lambda p, x: p + damping * x, product(v), v)

    return cg(damped, right, tol=TOLERANCE, maxiter=ITERATIONS)[0]


def _basis(x):
    """The unit vectors in the shape of x."""
    return jnp.eye(math.prod(x.shape), dtype=x.dtype).reshape(-1, *x.shape)
