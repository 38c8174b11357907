"""Block Gibbs sampling of a Boltzmann machine whose input is clamped.

A hidden spin of -1 and 1 is drawn by its mean given its neighbours, tanh(a_l + W_{l+1}^T h_{l+1}),
and the top as one of the labels by softmax(a_L): every other layer at once, from the top down, and
then those between. Free and clamped chains share their numbers, which makes their difference less
noisy and leaves each as it is.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.hebbian import contrast
from bioprop.rules.relaxation import odd_even


def correlations_apart(network, forward, states: tuple, context, sweeps: int) -> tuple:
    """<h_l h_{l-1}> free less clamped, of every layer, averaged over the latter half of sweeps.

    Every example has a chain of its own for each, which begins at the given states.
    """
    label = context.loss.optimum(states[-1], context.batch['label'])

    def sweep(carry, number):
        free, clamped, total = carry
        key = jax.random.fold_in(context.key, number)
        drawn = context._replace(key=key)
        free = _swept(network, forward, free, drawn, None)
        clamped = _swept(network, forward, clamped, drawn, label)
        counts = (number >= sweeps // 2).astype(label.dtype) / (sweeps - sweeps // 2)
        found = contrast(network, forward, free, clamped, jnp.ones_like(counts))
        total = jax.tree.map(lambda sum_, new: sum_ + counts * new, total, found)
        return (free, clamped, total), None

    start = (states, (*states[:-1], label), jax.tree.map(jnp.zeros_like, forward))
    return jax.lax.scan(sweep, start, jnp.arange(sweeps))[0][2]


def _swept(network, forward, states, context, label):
    """The states of a chain after a sweep."""
    h = list(states)
    for l in odd_even(len(network.layers)):
        a = network.layers[l - 1].potential(forward[l - 1], h[l - 1])
        uniform = context.uniform(l, a)
        if l < len(network.layers):
            above = network.layers[l].transpose(forward[l]['kernel'], h[l + 1])
            up = uniform < jax.nn.sigmoid(2 * (a + above))
            h[l] = jnp.where(up, 1, -1).astype(a.dtype)
        elif label is None:
            best = jnp.argmax(a - jnp.log(-jnp.log(uniform)), axis=-1)  # Gumbel's way to draw one
            h[l] = jax.nn.one_hot(best, a.shape[-1], dtype=a.dtype)
    return tuple(h)
