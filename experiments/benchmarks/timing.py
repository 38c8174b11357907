"""Paired timing: contestants take turns, so that a machine whose speed drifts favours none."""

import time
from collections.abc import Callable

import jax


def interleave(contestants: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The least time of one call of each contestant, in milliseconds.

    Contestants are called in rounds for that many seconds, after one call that is not counted.
    """
    for call in contestants.values():
        jax.block_until_ready(call())
    least = dict.fromkeys(contestants, float('inf'))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in contestants.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            least[name] = min(least[name], 1e3 * (time.perf_counter() - began))
    return least


def stepper(step: Callable, state) -> Callable[[], object]:
    """A call that takes one more step: state = step(state). The state is donated."""
    compiled = jax.jit(step, donate_argnums=0).lower(state).compile()

    def call():
        nonlocal state
        state = compiled(state)
        return state

    return call
