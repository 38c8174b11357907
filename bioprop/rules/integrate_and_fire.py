"""Leaky integrate-and-fire units over time, under a constant input.

    tau dv/dt = -v + j,   j = (W s + b) / SLOPE;   v >= THRESHOLD: a spike, v = 0

A spike lasts as long as the unit is refractory, so that a unit's mean output is the share of time
in which it is: k / (k - 1 + n) of a constant current j, of k = REFRACTORY / STEP steps and n =
floor(log(1 - THRESHOLD / j) / log(1 - STEP / TAU)) + 1 between. Its smooth fit is the activation
`lif` of W s + b (constants of ngc-learn's reproduction of Samadi, Lillicrap and Tweed 2017).
"""

import jax
import jax.numpy as jnp

STEP, TAU, REFRACTORY = 0.25, 20.0, 1.0  # ms
THRESHOLD = 0.4
SLOPE = 0.82 * 0.08  # of the fit at current 0
HERTZ = 1000 / REFRACTORY  # spikes a second of a unit that is always in one
LASTS = int(REFRACTORY / STEP)


def rates(network, forward, image: jax.Array, steps: int, settle: int) -> tuple[jax.Array, ...]:
    """Mean outputs of the hidden layers over `steps`, without the first `settle` of them.

    Units start from rest, and feel what the layer below puts out in the same step.
    """
    hidden = network.layers[:-1]
    lowest = hidden[0].potential(forward[0], image)  # the image does not change

    def step(carry, t):
        units, sums = carry
        out, moved = image, []
        for l, (layer, params) in enumerate(zip(hidden, forward, strict=False)):
            a = layer.potential(params, out) if l else lowest
            moved.append(_stepped(*units[l], a / SLOPE))
            out = (moved[-1][1] > 0).astype(image.dtype)
            counted = (t >= settle).astype(image.dtype) / (steps - settle)
            sums = (*sums[:l], sums[l] + counted * out, *sums[l + 1 :])
        rested = tuple((v, jnp.maximum(left - 1, 0)) for v, left in moved)
        return (rested, sums), None

    still = tuple(jnp.zeros((len(image), *layer.out_shape), image.dtype) for layer in hidden)
    start = tuple((zero, zero) for zero in still), still
    return jax.lax.scan(step, start, jnp.arange(steps))[0][1]


def _stepped(v, left, current):
    """(v, left) after a step: the potential, and the steps that a spike still lasts."""
    free = left == 0
    v = jnp.where(free, v + STEP / TAU * (current - v), 0)
    fires = free & (v >= THRESHOLD)
    return jnp.where(fires, 0, v), jnp.where(fires, LASTS, left).astype(v.dtype)
