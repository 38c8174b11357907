"""Units that hardly react any more."""

import math

import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe

FLAT = 0.1  # a slope below it is flat: for tanh that is |h| > 0.95


def saturation(probe: Probe) -> Found:
    """The share of a hidden layer's units whose slope is below FLAT, per example."""
    counts = {}
    for l in probe.hidden:
        slope = probe.network.layers[l - 1].slope(probe.states[l])
        counts[f'layer_{l}'] = jnp.sum(slope < FLAT, axis=range(1, slope.ndim), dtype=slope.dtype)
    counts['total'] = sum(counts.values())
    units = [math.prod(layer.out_shape) for layer in probe.network.layers[:-1]]
    shares = jnp.stack(list(counts.values())) / jnp.array([*units, sum(units)])[:, None]
    return probe.spread('saturation', list(counts), shares)
