"""A net that relaxes: its hidden layers take what comes from below and, weaker, from above.

    h_l = s_l(a_l(h_{l-1}) + gamma W_{l+1}^T h_{l+1}),  l < L
    h_L = a_L(h_{L-1}) - beta e(h_L)

Fixed points are minima of the energy  E = sum_l gamma^l (G_l(h_l) - <h_l, a_l(h_{l-1})>)
+ gamma^L beta L(h_L)  with G_l' the inverse of s_l. A sweep sets every other layer, from the top
down, and then those between: each half is an exact minimisation.
"""

from collections.abc import Callable

import jax


def relax(
    network, forward, states: tuple, gamma: jax.Array, steps: int, nudge: Callable | None = None
) -> tuple:
    """(h_0, ..., h_L) after so many sweeps from the given ones; h_0 stays.

    nudge: h_L -> beta e(h_L), what the top layer is pushed by; None in the free phase.
    """
    lowest = network.layers[0].potential(forward[0], states[0])  # of what never changes: once
    top = len(network.layers)
    order = [*range(top, 0, -2), *range(top - 1, 0, -2)]

    def sweep(hidden, _):
        h = [None, *hidden]  # h_0 enters by `lowest` alone
        for l in order:
            layer = network.layers[l - 1]
            a = lowest if l == 1 else layer.potential(forward[l - 1], h[l - 1])
            if l == top:
                h[l] = a if nudge is None else a - nudge(h[l])
            else:
                above = network.layers[l].transpose(forward[l]['kernel'], h[l + 1])
                h[l] = layer.activation(a + gamma * above)
        return tuple(h[1:]), None

    hidden, _ = jax.lax.scan(sweep, states[1:], None, length=steps)
    return (states[0], *hidden)
