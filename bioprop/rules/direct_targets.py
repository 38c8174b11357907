"""Direct difference target propagation (Meulemans et al. 2020): every target straight from h_L.

    t_l = h_l + g_l(h_L - alpha e) - g_l(h_L),   e = dL/dh_L,   l < L
    delta_l = (h_l - t_l) / alpha                delta_L = e

    ddtp_linear   g_l(y) = V_l y: then delta_l = V_l e, direct feedback alignment with a V_l that
                  learns; V_l is (units of layer l, outputs)
    ddtp_control  the same targets, another loss
    ddtp_rhl      g_l(y) = tanh(V_l tanh(R y + r) + c_l) with R and r fixed, random and one for all
                  layers; the last hidden layer has g(y) = tanh(V y + c)

With e_l ~ sigma N(0, 1) and y_l = the logits that h_l + e_l gives, g_l descends

    linear, rhl   mean |(g_l(y_l) - g_l(h_L) - e_l) / sigma|^2      (difference reconstruction)
    control       mean |V_l y_l + c_l - (h_l + e_l)|^2

over units and batch. The first rests, for linear g_l and a small sigma, at
E[J_l^T] E[J_l J_l^T]^-1, J_l = dh_L/dh_l: targets come near to those of Gauss and Newton.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.rules.base import Hyperparameter, Rule
from bioprop.rules.difference_reconstruction import ALPHA, per_step
from bioprop.rules.direct_kolen_pollack import init_direct, send
from bioprop.rules.target_propagation import logit_step

SIGMA = Hyperparameter('sigma', 0.1, 0.005, 0.2, log=True, least=0)


def ddtp_linear() -> Rule:
    """DDTP-linear; V_l is drawn like a dense layer's kernel."""

    return Rule(init_direct, send, linear_loss, hparams=(SIGMA,))


def linear_loss(network, weights, states, context, push: Callable | None = None):
    """Of noise and differences that are divided by sigma before they meet; push as for `noisy`."""
    loss = 0.0
    for own, sigma, noise, output in noisy(network, weights, states, context, push):
        moved = (output - states[-1]) / sigma
        loss += mean_square(moved @ own['kernel'].T - noise)
    return loss


def ddtp_control() -> Rule:
    """DDTP-control: the loss of ordinary reconstruction, for comparison with DDTP-linear."""

    def init(key, network, forward):
        feedback, fixed = init_direct(key, network, forward)
        return (*map(with_bias, feedback[:-1]), None), fixed

    def feedback_loss(network, weights, states, context):
        loss, rows = 0.0, noisy(network, weights, states, context)
        for h, (own, sigma, noise, output) in zip(states[1:-1], rows, strict=True):
            loss += mean_square(affine(own, output) - flat(h) - sigma * noise)
        return loss

    return Rule(init, send, feedback_loss, hparams=(SIGMA,))


def ddtp_rhl(units: int = 1024) -> Rule:
    """DDTP with a random hidden layer of so many units (2048 on CIFAR-10 in the paper)."""

    def init(key, network, forward):
        key_inverse, key_random = jax.random.split(key)
        outputs, hidden = network.out_shape[0], network.layers[:-1]
        fans = [*[units] * (len(hidden) - 1), outputs][: len(hidden)]
        feedback = []
        for l, (layer, fan) in enumerate(zip(hidden, fans, strict=True)):
            shape = (math.prod(layer.out_shape), fan)
            drawn = jax.nn.initializers.glorot_uniform()(jax.random.fold_in(key_inverse, l), shape)
            feedback.append(with_bias({'kernel': drawn}))
        limit = 1 / math.sqrt(outputs)
        drawn = jax.random.uniform(key_random, (units, outputs + 1), minval=-limit, maxval=limit)
        return (*feedback, None), {'kernel': drawn[:, 1:], 'bias': drawn[:, 0]}

    def inverse(network, weights, l, y):
        last = l == len(network.layers) - 1
        z = y if last else jnp.tanh(affine(weights['fixed'], y))
        return jnp.tanh(affine(weights['feedback'][l - 1], z))

    def difference(network, weights, states, l, y):
        return inverse(network, weights, l, y) - inverse(network, weights, l, states[-1])

    def displacements(network, weights, states, context):
        target = states[-1] - logit_step(network, weights, states, context)
        return tuple(
            -difference(network, weights, states, l, target).reshape(h.shape)
            for l, h in enumerate(states[1:-1], start=1)
        )

    def feedback_loss(network, weights, states, context):
        loss, rows = 0.0, noisy(network, weights, states, context)
        for l, (_, sigma, noise, output) in enumerate(rows, start=1):
            loss += mean_square(difference(network, weights, states, l, output) / sigma - noise)
        return loss

    return Rule(
        init, per_step(displacements), feedback_loss, hparams=(ALPHA, SIGMA),
        displacements=displacements,
    )  # fmt: skip


def noisy(network, weights, states, context, push: Callable | None = None):
    """(feedback weights, sigma, noise, logits behind it) of each hidden layer.

    push: (l, sigma noise) -> the state of layer l with it; by default h_l + sigma noise.
    """
    own = weights['feedback'][:-1]
    sigmas = [context.hparam('sigma', l) for l in range(1, len(network.layers))]
    found = noisy_outputs(network, weights, states, context, sigmas, push)
    return zip(own, sigmas, *found, strict=True)


def noisy_outputs(
    network, weights, states, context, sigmas, push: Callable | None = None
) -> tuple[list, list]:
    """Normal noises of h_1, ..., h_{L-1}, (batch, units) each, and the logits behind them.

    sigmas are what the noises are scaled by on their way; push as for `noisy`.
    """
    push = push or (lambda l, noise: states[l] + noise)
    noises = [context.noise(l, h) for l, h in enumerate(states[1:-1], start=1)]
    pairs = enumerate(zip(sigmas, noises, strict=True), start=1)
    outputs = upwards(network, weights, [push(l, sigma * noise) for l, (sigma, noise) in pairs])
    return [flat(noise) for noise in noises], outputs


def upwards(network, weights, starts: list[jax.Array]) -> list[jax.Array]:
    """The logits that states of the layers 1, ..., L-1 give, side by side as one batch."""
    up, batch = starts[0][:0], len(starts[0])
    ascents = zip(network.layers[1:], weights['forward'][1:], starts, strict=True)
    for layer, params, start in ascents:
        up = layer.apply(params, jnp.concatenate([up, start]))
    return list(up.reshape(-1, batch, *up.shape[1:]))


def flat(h: jax.Array) -> jax.Array:
    """(batch, units)."""
    return h.reshape(len(h), -1)


def affine(own: dict, x: jax.Array) -> jax.Array:
    """V x + c of {'kernel': V, 'bias': c}."""
    return x @ own['kernel'].T + own['bias'][None]


def with_bias(own: dict) -> dict:
    """The {'kernel'} with a bias of zeros."""
    return own | {'bias': jnp.zeros(len(own['kernel']))}


def mean_square(x: jax.Array) -> jax.Array:
    """Over units and batch."""
    return jnp.mean(jnp.square(x))
