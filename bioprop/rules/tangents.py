"""Tangents of a forward pass, in forward mode through the layers' own functions.

JAX's forward mode stops at layers that have a gradient of their own (locally connected ones and
convolutions), so the chain is written out: it is exact on every layer.
"""

import jax
import jax.numpy as jnp

from bioprop.layers import add_bias
from bioprop.rules.base import random_signs


def tangents(network, forward, states, dparams=None, dstates=None) -> tuple[jax.Array, ...]:
    """(t_1, ..., t_L), by which h_1, ..., h_L change, each in its shape.

    dparams: a change of each layer's {'kernel', 'bias'}; dstates: one that is added to h_1, ...,
    h_{L-1}. None changes nothing.
    """
    found, below = [], None
    for l, (layer, params) in enumerate(zip(network.layers, forward, strict=True), start=1):
        a = jnp.zeros_like(states[l]) if below is None else layer.linear(params['kernel'], below)
        if dparams is not None:
            change = dparams[l - 1]
            a += add_bias(layer.linear(change['kernel'], states[l - 1]), change['bias'])
        t = layer.slope(states[l]) * a
        below = t if dstates is None or l == len(network.layers) else t + dstates[l - 1]
        found.append(below)
    return tuple(found)


def signs_like(key: jax.Array, tree):
    """Random signs in the shapes of a tree's leaves, of their types."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [random_signs(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)
