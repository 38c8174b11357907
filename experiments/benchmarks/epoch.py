"""An epoch of BP through the training loop, against one written by hand and against its floor.

`program` is the loop's compiled scan, `main` the wall time of an epoch of `bioprop.main`, with its
evaluation, records and checkpoints. Data and net are those of configs/mnist_bp.py; --dataset=mnist
needs a prepared copy, the default trains on the set that ships.
"""

import functools
import itertools
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import optax
from absl import flags

from bioprop.costs.trace import trace_step
from bioprop.running.run import make_run
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.training.images import Images
from bioprop.training.learner import init_state
from bioprop.training.passes import train_steps
from experiments.benchmarks import floor, plain, timing
from experiments.benchmarks.nets import paper_net

DATASET = flags.DEFINE_string('dataset', 'mnist_mini', 'epoch, population: mnist_mini or mnist.')
NET = paper_net('mnist_fc')


def default_batch() -> int:
    """Examples a step."""
    return 100


def configuration(batch_size: int, epochs: int) -> dict:
    """configs/mnist_bp.py on the chosen data set."""
    config = paper('mnist', 'bp')
    config.update(dataset=DATASET.value, batch_size=batch_size, epochs=epochs)
    return resolve(config)


def plain_epoch(batch_size: int, images: Images):
    """A call that trains one epoch in one scan, without bioprop."""
    optimizer = optax.adam(1.52e-4)
    steps = len(images.label) // batch_size

    def epoch(state):
        carry, key = state
        key, order_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(images.label))

        def body(carry, places):
            image = images.image[places].astype(jnp.float32) / 255
            return plain.update(NET, optimizer, carry, image, images.label[places]), None

        places = order[: steps * batch_size].reshape(steps, batch_size)
        return jax.lax.scan(body, carry, places)[0], key

    return timing.Stepper(epoch, (plain.begin(NET, optimizer), jax.random.key(0)))


def plain_evaluation(parts: dict[str, Images]):
    """A call that evaluates validation and test set by hand, 1,000 images at a time."""

    def evaluate(_):
        def body(total, chunk):
            image, label = chunk
            return total + plain.loss(NET, weights, image.astype(jnp.float32) / 255, label), None

        total = jnp.zeros(())
        for name in ('validation', 'test'):
            part = parts[name]
            size = min(1000, len(part.label))
            chunks = (
                part.image.reshape(-1, size, *part.image.shape[1:]),
                part.label.reshape(-1, size),
            )
            total, _ = jax.lax.scan(body, total, chunks)
        return total

    weights = plain.weights(NET)
    return timing.Stepper(evaluate, jnp.zeros(()))


def main_seconds(batch_size: int) -> float:
    """Least wall time between two epochs, as a user of `bioprop.main` sees them go by."""
    with tempfile.TemporaryDirectory() as workdir:
        command = (
            sys.executable, '-m', 'bioprop.main', '--config=configs/mnist_bp.py',
            f'--workdir={workdir}', f'--config.dataset={DATASET.value}', '--config.epochs=20',
            f'--config.batch_size={batch_size}',
        )  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            times = [time.perf_counter() for line in run.stdout if line.startswith('epoch ')]
    return min(after - before for before, after in itertools.pairwise(times))


def rows(batch_size: int, seconds: float) -> list[dict]:
    """One row a contestant: ms for an epoch, and ratios to plain BP and to the floor.

    `main` is to be held against `plain, evaluated`.
    """
    run = make_run(configuration(batch_size, 1))
    state = init_state(run.learner, jax.random.key(0), run.hparams)
    counted = trace_step(run.learner, run.passes[0], batch_size, run.hparams)
    program = functools.partial(
        train_steps, run.learner, run.passes[0], batch_size, run.steps_per_pass,
        images=run.parts['train'], hparams=run.hparams,
    )  # fmt: skip
    contestants = {
        'program': timing.Stepper(lambda state: program(state)[0], state),
        'plain': plain_epoch(batch_size, run.parts['train']),
        'floor': floor.run(counted.products, counted.trained, run.steps_per_pass),
        'plain evaluation': plain_evaluation(run.parts),
    }
    least = timing.interleave(contestants, seconds)
    least['plain, evaluated'] = least['plain'] + least.pop('plain evaluation')
    least['main'] = 1e3 * main_seconds(batch_size)
    return [
        {
            'contestant': name,
            'ms_epoch': least[name],
            'images_per_second': 1e3 * run.steps_per_pass * batch_size / least[name],
            'ratio_to_plain': least[name] / least['plain'],
            'ratio_to_floor': least[name] / least['floor'],
        }
        for name in ('plain', 'program', 'plain, evaluated', 'main', 'floor')
    ]
