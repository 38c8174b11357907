"""Does a step reduce the loss at all?"""

import jax
import jax.numpy as jnp
import optax

from bioprop.diagnostics.comparison import squares
from bioprop.diagnostics.probe import Found, Probe

STEP = 1e-3  # length of the step, in lengths of a layer's weights


def descent(probe: Probe, step: float = STEP) -> Found:
    """The share of a loss that a layer's own step removes: 0.1 for a tenth, below 0 for a rise.

    A step goes against the update, `step` times as far as the layer's weights are long, so that
    rules of any scale compare. 'descent_local/layer_l' is of the layer's own loss ||h_l - t_l||^2
    with its input held (of the task's loss at the top); 'descent_global/layer_l' is of the task's
    loss when that layer alone steps, 'descent_global/total' when all do.
    """
    if not probe.displacements:
        return {}
    layers, forward = probe.network.layers, probe.weights['forward']
    stepped = [_stepped(*each, step) for each in zip(forward, probe.updates, strict=True)]
    label, loss = probe.context.batch['label'], probe.context.loss

    def task(weights, l=1):
        h = probe.states[l - 1]
        for layer, params in zip(layers[l - 1 :], weights[l - 1 :], strict=True):
            h = layer.apply(params, h)
        return probe.mean(loss.value(h, label))

    before, found = probe.mean(loss.value(probe.states[-1], label)), {}
    for l, (layer, new) in enumerate(zip(layers, stepped, strict=True), start=1):
        after = task((*forward[: l - 1], new, *forward[l:]), l)
        found[f'descent_global/layer_{l}'] = (before - after) / before
        if l in probe.hidden:
            displacement = probe.displacements[l - 1]
            moved = layer.apply(new, probe.states[l - 1]) - probe.states[l]
            was, left = (probe.mean(squares(x)) for x in (displacement, displacement + moved))
            found[f'descent_local/layer_{l}'] = (was - left) / was
    found[f'descent_local/layer_{len(layers)}'] = found[f'descent_global/layer_{len(layers)}']
    found['descent_global/total'] = (before - task(stepped)) / before
    return found


def _stepped(params, update, step):
    """The weights of a layer after its step."""
    lengths = [optax.tree.norm(tree) for tree in (params, update)]
    rate = jnp.where(lengths[1] > 0, step * lengths[0] / lengths[1], 0)
    return jax.tree.map(lambda w, u: w - rate * u, params, update)
