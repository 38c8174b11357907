"""What the cheap diagnostics add to training, measured every 100 steps, for every rule.

A call is 100 steps of MNIST's fully connected net in one scan, with one measurement or none. Calls
with and without take turns, and what is added is the median of their pairs' ratios; `noise_percent`
is the same for calls without against calls without. `ms_written` is what a record takes to be
written, to JSON lines and TensorBoard. Differences of a percent want some 300 seconds.
"""

import functools
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from bioprop import diagnostics
from bioprop.records.writers import Metrics
from bioprop.training.images import Images
from bioprop.training.learner import Diagnosis, Learner, init_state
from bioprop.training.passes import train_steps
from experiments.benchmarks import timing
from experiments.benchmarks.nets import paper_net
from experiments.benchmarks.step import HPARAMS, RULES, learner

EVERY = 100
NET = paper_net('mnist_fc')


def default_batch() -> int:
    """Examples a step."""
    return 100


def random_images(examples: int) -> Images:
    """Pixels and labels in MNIST's shapes."""
    shape = (examples, *NET.in_shape)
    pixels = jax.random.randint(jax.random.key(0), shape, 0, 256).astype(jnp.uint8)
    label = jax.random.randint(jax.random.key(1), (examples,), 0, NET.outputs)
    return Images(pixels, label, jnp.zeros(1), jnp.full(1, 255.0))


class Call:
    """A call that takes EVERY steps, both sides in parallel, and keeps what was measured."""

    def __init__(self, made: Learner, batch_size: int):
        hparams = {name: jnp.asarray(value) for name, value in HPARAMS.items()}
        images = random_images(EVERY * batch_size)
        turns = (tuple(made.optimizers),)
        self._state = init_state(made, jax.random.key(2), hparams)
        function = functools.partial(train_steps, made, turns, batch_size, EVERY)
        self._arguments = images, hparams
        jitted = jax.jit(function, donate_argnums=0)
        self._program = jitted.lower(self._state, *self._arguments).compile()
        self.metrics = {}

    def __call__(self):
        """The new state."""
        self._state, self.metrics = self._program(self._state, *self._arguments)
        return self._state


def ms_written(measured: dict[str, jax.Array], times: int = 20) -> float:
    """The least time of writing a record of these numbers."""
    record = {'kind': 'diagnostics', 'part': 'train', 'step': 1, 'epoch': 1}
    record |= {name: float(value[0]) for name, value in measured.items()}
    least = float('inf')
    with tempfile.TemporaryDirectory() as folder:
        metrics = Metrics(Path(folder), 0)
        for _ in range(times):
            began = time.perf_counter()
            metrics.write(record)
            least = min(least, time.perf_counter() - began)
        metrics.close()
    return 1e3 * least


def rows(batch_size: int, seconds: float) -> list[dict]:
    """One row a rule: ms for EVERY steps without a measurement, and what one adds."""
    found, share = [], seconds / len(RULES)
    for rule in RULES:
        made = learner(rule, NET)
        diagnosis = Diagnosis(diagnostics.CHEAP, EVERY)
        off, again = Call(made, batch_size), Call(made, batch_size)
        on = Call(made._replace(diagnosis=diagnosis), batch_size)
        times, null = timing.pairs(off, on, 0.7 * share), timing.pairs(off, again, 0.3 * share)
        ms_off = statistics.median(time for time, _ in times)
        written = ms_written(on.metrics['measured'])
        found.append({
            'rule': rule,
            'ms_off': ms_off,
            'ms_written': written,
            'added_percent': added(times) + 100 * written / ms_off,
            'noise_percent': added(null),
        })  # fmt: skip
    return found


def added(times: list[tuple[float, float]]) -> float:
    """The median over pairs of what the second takes more than the first, in percent."""
    return 100 * (statistics.median(on / off for off, on in times) - 1)
