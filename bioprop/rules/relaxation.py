"""A net that relaxes: its hidden layers take what comes from below and, weaker, from above.

    h_l = s_l(a_l(h_{l-1}) + gamma V_{l+1}^T h_{l+1}),  l < L        h_L = a_L(h_{L-1})

where the top may be nudged or clamped, and may send down another thing than its logits. With V = W
fixed points are minima of the energy  E = sum_l gamma^l (G_l(h_l) - <h_l, a_l(h_{l-1})>), G_l' the
inverse of s_l; a nudge of the top by beta e(h_L) adds gamma^L beta L(h_L). A sweep sets every other
layer, from the top down, and then those between: each half is an exact minimisation.
"""

from collections.abc import Callable

import jax

from bioprop.rules.base import Hyperparameter

GAMMA = Hyperparameter('gamma', 0.1, 0.02, 0.5, log=True, least=0)


def odd_even(top: int) -> list[int]:
    """The order of the layers in a sweep: every other one from the top down, then those between."""
    return [*range(top, 0, -2), *range(top - 1, 0, -2)]


def free_phase(network, weights, context, steps: int, **how) -> tuple:
    """The states of a batch, relaxed from the forward pass; how is what `relax` takes."""
    states = network.states(weights['forward'], context.batch['image'])
    return sweeps(network, weights, states, context, steps, **how)


def sweeps(network, weights, states: tuple, context, steps: int, **how) -> tuple:
    """So many from the given states, at the rule's gamma."""
    gamma = context.hparam('gamma', len(network.layers))
    return relax(network, weights['forward'], states, weakly(gamma), steps, **how)


def weakly(gamma: jax.Array) -> Callable:
    """The drive of `relax` above: what comes from below, and gamma of what comes from above."""
    return lambda l, below, above: below + gamma * above


def end_of(network, weights, states: tuple, context, steps: int, **how) -> tuple[tuple, tuple]:
    """The states after so many sweeps from the given ones, and after one more."""
    before = sweeps(network, weights, states, context, steps, **how)
    return before, sweeps(network, weights, before, context, 1, **how)


def relax(
    network,
    forward,
    states: tuple,
    drive: Callable,
    steps: int,
    settle: Callable = lambda a, h: a,
    emit: Callable = lambda h: h,
    kernels: tuple | None = None,
) -> tuple:
    """(h_0, ..., h_L) after so many sweeps from the given ones; h_0 stays.

    drive: (l, a_l, V_{l+1}^T h_{l+1}) -> what goes into s_l, l < L; settle: (a_L, h_L) -> h_L;
    emit: h_L -> what the top sends down; kernels: the V_l, None for W_l.
    """
    kernels = kernels or tuple(params['kernel'] for params in forward)
    lowest = network.layers[0].potential(forward[0], states[0])  # of what never changes: once
    top = len(network.layers)

    def sweep(hidden, _):
        h = [None, *hidden]  # h_0 enters by `lowest` alone
        for l in odd_even(top):
            layer = network.layers[l - 1]
            a = lowest if l == 1 else layer.potential(forward[l - 1], h[l - 1])
            if l == top:
                h[l] = settle(a, h[l])
            else:
                sent = emit(h[top]) if l + 1 == top else h[l + 1]
                above = network.layers[l].transpose(kernels[l], sent)
                h[l] = layer.activation(drive(l, a, above))
        return tuple(h[1:]), None

    hidden, _ = jax.lax.scan(sweep, states[1:], None, length=steps)
    return (states[0], *hidden)
