"""Units that hardly react any more."""

import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe

FLAT = 0.1  # a slope below it is flat: for tanh that is |h| > 0.95


def saturation(probe: Probe) -> Found:
    """The share of a hidden layer's units whose slope is below FLAT, per example."""
    flat = {}
    for l in probe.hidden:
        slope = probe.network.layers[l - 1].slope(probe.states[l])
        flat[f'layer_{l}'] = (slope < FLAT).astype(slope.dtype).reshape(len(slope), -1)
    flat['total'] = jnp.concatenate(list(flat.values()), axis=1)
    found = {}
    for place, each in flat.items():
        found |= probe.spread(f'saturation/{place}', jnp.mean(each, axis=1))
    return found
