"""Paired timing: contestants take turns, so that a machine whose speed drifts favours none."""

import math
import random
import time
from collections.abc import Callable

import jax

from bioprop.training.crowd import program_bytes


def interleave(
    contestants: dict[str, Callable[[], object]], seconds: float, share: float = math.inf
) -> dict[str, float]:
    """The least time of one call of each contestant, in milliseconds.

    Contestants are called in rounds for that many seconds, after one call that is not counted, each
    round in another order: who comes after a large program finds less in the caches. One that has
    used up its share, in seconds with the first call, leaves the rounds; if the first call alone
    was that long, it counts.
    """
    used = {name: _seconds(call) for name, call in contestants.items()}
    least = {name: first if first >= share else math.inf for name, first in used.items()}
    end, order, dice = time.perf_counter() + seconds, list(contestants), random.Random(0)
    while time.perf_counter() < end:
        dice.shuffle(order)
        for name in order:
            if used[name] < share:
                took = _seconds(contestants[name])
                used[name] += took
                least[name] = min(least[name], took)
        if min(used.values()) >= share:
            break
    return {name: 1e3 * took for name, took in least.items()}


def pairs(
    one: Callable[[], object], other: Callable[[], object], seconds: float
) -> list[tuple[float, float]]:
    """Times of calls of both in turn, in milliseconds, after one of each that is not counted."""
    _seconds(one), _seconds(other)
    found, end = [], time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        found.append((1e3 * _seconds(one), 1e3 * _seconds(other)))
    return found


def _seconds(call):
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


class Stepper:
    """A call that takes more steps: state = step(state). The state is donated.

    Several stand in one scan, as in training: what a call of a program costs is then shared.
    """

    def __init__(self, step: Callable, state, steps: int = 1):
        def several(state):
            return jax.lax.scan(lambda state, _: (step(state), None), state, length=steps)[0]

        program = jax.jit(step if steps == 1 else several, donate_argnums=0)
        self.program = program.lower(state).compile()
        self.state = state

    def __call__(self):
        """The new state."""
        self.state = self.program(self.state)
        return self.state

    @property
    def peak_bytes(self) -> int:
        """All that the program needs: arguments, results that are not among them, temporaries."""
        return program_bytes(self.program)
