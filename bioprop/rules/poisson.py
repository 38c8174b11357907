"""Layers of Poisson units over time, in steps of a millisecond: a phase of `segregated_dendrites`.

A unit spikes as often as Poisson's law has it for the rate PHI sigma(C), and its spikes reach the
next layer as postsynaptic potentials s, each kappa(t) = (exp(-t / TAU_L) - exp(-t / TAU_S)) /
(TAU_L - TAU_S). By Euler's steps of dC/dt = -g_L C + g_B (a(s) - C):

    C <- C - LEAK C + COUPLING (W s + b - C)          at the top, taught: + E - C, E = 8 or -8

(Guerguiev, Lillicrap and Richards 2017; apical dendrites do not reach the soma, g_A = 0).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

PHI = 0.2  # spikes a millisecond at most
TAU_S, TAU_L = 3.0, 10.0  # ms
LEAK, COUPLING = 0.1, 0.6
REVERSAL = 8.0
FELT = (1 / math.expm1(1 / TAU_L) - 1 / math.expm1(1 / TAU_S)) / (TAU_L - TAU_S)  # kappa's sum
HERTZ = 1000 / FELT  # spikes a second of a unit whose mean potential is 1
MOST = 4  # spikes of a unit in a millisecond: more have odds below 2e-6


class Means(NamedTuple):
    """Over a phase, after it has settled."""

    potentials: tuple  # s_0, ..., s_L: postsynaptic potentials that the units cause
    somata: tuple  # C_1, ..., C_L
    rates: tuple  # PHI sigma(C_1), ..., spikes a millisecond


def phase(network, forward, context, steps: int, settle: int, taught: bool = False) -> Means:
    """A phase from rest of `steps` ms, of which the first `settle` do not count.

    Taught, the label drives the output. Every example has spikes of its own.
    """
    rates = PHI * jnp.clip(context.batch['image'], 0, 1)
    shapes = [rates.shape, *((len(rates), *layer.out_shape) for layer in network.layers)]
    if taught:
        blank = jnp.zeros(shapes[-1], rates.dtype)
        right = context.loss.optimum(blank, context.batch['label'])
        drive = REVERSAL * (2 * right - 1)

    def step(carry, t):
        traces, somata, sums = carry
        drawn = context._replace(key=jax.random.fold_in(context.key, 2 * t + int(taught)))
        traces, somata, fired = list(traces), list(somata), []
        for l in range(len(shapes)):
            if l:
                a = network.layers[l - 1].potential(forward[l - 1], _felt(traces[l - 1]))
                c = somata[l - 1]
                pull = drive - c if taught and l == len(network.layers) else 0.0
                somata[l - 1] = c - LEAK * c + COUPLING * (a - c) + pull
            rate = PHI * jax.nn.sigmoid(somata[l - 1]) if l else rates
            fired.append(rate)
            spikes = _poisson(rate, drawn.uniform(l, rate))
            traces[l] = tuple(
                (trace + spikes) * math.exp(-1 / tau)
                for trace, tau in zip(traces[l], (TAU_L, TAU_S), strict=True)
            )
        counted = (t >= settle).astype(rates.dtype) / (steps - settle)
        new = Means(tuple(map(_felt, traces)), tuple(somata), tuple(fired[1:]))
        sums = jax.tree.map(lambda total, x: total + counted * x, sums, new)
        return (tuple(traces), tuple(somata), sums), None

    zeros = [jnp.zeros(shape, rates.dtype) for shape in shapes]
    hidden = tuple(zeros[1:])
    start = tuple((zero, zero) for zero in zeros), hidden, Means(tuple(zeros), hidden, hidden)
    return jax.lax.scan(step, start, jnp.arange(steps))[0][2]


def _felt(traces):
    """The postsynaptic potential that a layer's two traces make."""
    slow, fast = traces
    return (slow - fast) / (TAU_L - TAU_S)


def _poisson(mean, uniform):
    """Counts by inversion: as many as the sums of Poisson's odds that the number exceeds."""
    odds = jnp.exp(-mean)
    below, counts = odds, jnp.zeros_like(mean)
    for number in range(1, MOST + 1):
        counts += (uniform > below).astype(mean.dtype)
        odds = odds * mean / number
        below += odds
    return counts
