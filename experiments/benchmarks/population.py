"""Populations of several sizes against the same runs one after another, and against their floor.

Net, rule and data are those of configs/mnist_RULE.py. `alone` is the program of a single run, on
one device; a population's is the one that studies train with, on all of them. On a CPU each core
is a device, as in the launchers of studies.
"""

import functools

import jax
import numpy as np
from absl import flags

from bioprop.costs.trace import trace_step
from bioprop.running import population
from bioprop.running.run import Run, make_run
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.training.crowd import WIDTH, Crowd
from bioprop.training.learner import init_state
from bioprop.training.passes import train_steps
from experiments.benchmarks import epoch, floor, timing

RULE = flags.DEFINE_string('rule', 'bp', 'population: a rule of the package.')
MEMBERS = flags.DEFINE_list('populations', ['1', '8', '32', '64'], 'population: their sizes.')
STEPS = 45  # in one call: a pass over the set that ships


def default_batch() -> int:
    """Examples a step."""
    return 100


def configuration(batch_size: int) -> dict:
    """The paper's settings of the rule, both sides trained in parallel."""
    config = paper('mnist', RULE.value)
    config.update(dataset=epoch.DATASET.value, batch_size=batch_size)
    return resolve(config)


def alone(run: Run) -> timing.Stepper:
    """A call that takes STEPS steps of one run."""
    program = functools.partial(
        train_steps, run.learner, run.passes[0], run.batch_size, STEPS,
        images=run.parts['train'], hparams=run.hparams,
    )  # fmt: skip
    state = init_state(run.learner, jax.random.key(0), run.hparams)
    return timing.Stepper(lambda state: program(state)[0], state)


class Together:
    """A call that takes STEPS steps of every member of a population."""

    def __init__(self, run: Run, members: int):
        self.crowd = crowd = Crowd(members)
        seeds = crowd.divide(np.arange(members, dtype=np.uint32))
        hparams = crowd.divide(
            jax.tree.map(lambda x: np.stack([np.asarray(x)] * members), run.hparams)
        )
        self.rest = crowd.divide(np.ones(members, bool)), hparams
        self.images = crowd.everywhere(run.parts['train'])
        init = functools.partial(population.init_member, run.learner)
        self.members = crowd.each(init, (seeds, hparams))(seeds, hparams)
        function = functools.partial(
            population.train_member, run.learner, run.passes[0], run.batch_size, STEPS
        )
        self.program = crowd.each(function, (self.members, *self.rest), (self.images,), donate=True)

    def __call__(self):
        """The new state."""
        self.members, *_ = self.program(self.members, *self.rest, self.images)
        return self.members


def of_members(run: Run, side_by_side: int) -> timing.Stepper:
    """A call that does the matrix products, and Adam's traffic, of one step of some members."""
    counted = trace_step(run.learner, run.passes[0], run.batch_size, run.hparams)
    products = [(places * side_by_side, *shape) for places, *shape in counted.products]
    trained = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((side_by_side, *leaf.shape), leaf.dtype), counted.trained
    )
    return floor.run(products, trained)


def rows(batch_size: int, seconds: float) -> list[dict]:
    """One row a population: member-epochs a second, and ratios of these.

    to_alone is to the runs one after another, to_floor to what the products alone would allow one
    device after another.
    """
    run = make_run(configuration(batch_size))
    sizes = [int(size) for size in MEMBERS.value]
    width = WIDTH.get(jax.default_backend(), max(sizes))
    contestants = {'alone': alone(run), 'floor': of_members(run, width)}
    contestants |= {size: Together(run, size) for size in sizes}
    least = timing.interleave(contestants, seconds)
    steps = {'alone': STEPS, 'floor': width} | {size: size * STEPS for size in sizes}
    rates = {name: 1e3 * steps[name] / run.steps_per_pass / took for name, took in least.items()}
    return [
        {
            'contestant': f'population of {name}' if name in sizes else name,
            'members': name if name in sizes else 1,
            'member_epochs_per_second': rate,
            'ratio_to_alone': rate / rates['alone'],
            'ratio_to_floor': rate / rates['floor'],
        }
        for name, rate in rates.items()
    ]
