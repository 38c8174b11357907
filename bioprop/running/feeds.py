"""How images reach the devices: all of them at once, or batch by batch from disk.

Both kinds of feed have the same methods. `program` gives the compiled function of a call,
state -> (state, metrics): the means over its steps, in 'finite' whether the state still is, and in
'measured', where there is a diagnosis, a list of each of its numbers. `sums` gives the sums of
'loss' and 'mistake' over a part of the data, and the examples counted. `diagnose` gives the numbers
of a diagnosis on the first batch of the validation images.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.rules.base import Weights, inferring
from bioprop.running.run import Call, Run
from bioprop.training.diagnosis import diagnose_batch, diagnose_part
from bioprop.training.evaluation import evaluate, evaluate_batch
from bioprop.training.images import Images
from bioprop.training.learner import TrainState, finite
from bioprop.training.parallel import Replicas
from bioprop.training.passes import train_steps
from bioprop.training.step import train_batch

AHEAD = 2  # steps on the devices, at most, while the host reads on

Numbers = dict[str, float]


class Resident:
    """The whole data set lies on every device; a call is one program."""

    def __init__(self, run: Run, replicas: Replicas, eval_batch_size: int, like: TrainState):
        self._run, self._replicas, self._like = run, replicas, like
        self._parts, self._hparams = replicas.place((run.parts, run.hparams))
        self._eval_batch_size = eval_batch_size
        self._train_steps = functools.cache(self._compile_train_steps)
        self._evaluate = functools.cache(self._compile_evaluate)

    def program(self, call: Call) -> Callable[[TrainState], tuple[TrainState, Numbers]]:
        """Compiled at the first call of its kind."""
        images = self._parts['train']
        compiled = self._train_steps(call.turns, call.steps, call.lead)

        def train(state):
            state, metrics = compiled(state, images, self._hparams)
            measured = {name: x.tolist() for name, x in metrics.pop('measured', {}).items()}
            return state, _numbers(metrics) | {'measured': measured}

        return train

    def compile_sums(self, parts: Sequence[str]) -> None:
        """Compiles `sums` of these parts ahead."""
        for part in parts:
            self._evaluate(part)

    def sums(self, weights: Weights, part: str) -> tuple[Numbers, int]:
        """Every example counts once."""
        images = self._parts[part]
        weights = inferring(self._run.learner.rule, weights)
        sums = self._evaluate(part)(weights, self._hparams, images)
        return _numbers(sums), len(images.image)

    def diagnose(self, state: TrainState) -> Numbers:
        """On validation images."""
        return _numbers(self._diagnose(state, self._hparams, self._parts['validation']))

    @functools.cached_property
    def _diagnose(self):
        function = functools.partial(diagnose_part, self._run.learner, self._run.batch_size)
        return self._replicas.spread(
            function, (self._like, self._hparams, self._parts['validation'])
        )

    def _compile_train_steps(self, turns, steps, lead):
        run = self._run
        function = functools.partial(
            train_steps, run.learner, turns, run.batch_size, steps, lead=lead
        )
        arguments = (self._like, self._parts['train'], self._hparams)
        return self._replicas.spread(function, arguments, donate=(0,))

    def _compile_evaluate(self, part):
        function = functools.partial(evaluate, self._run.learner, self._eval_batch_size)
        weights = inferring(self._run.learner.rule, self._like.weights)
        return self._replicas.spread(function, (weights, self._hparams, self._parts[part]))


class Streamed:
    """Batches are read, decoded and moved to the devices while these compute."""

    def __init__(self, run: Run, replicas: Replicas, eval_batch_size: int, like: TrainState):
        self._run, self._replicas, self._like = run, replicas, like
        self._hparams = replicas.place(run.hparams)
        self._share = jax.process_index(), jax.process_count()
        devices = len(replicas.devices)
        self._eval_batch_size = -(-eval_batch_size // devices) * devices
        self._position, self._batches = None, None
        self._train_batch = functools.cache(self._compile_train_batch)

    def program(self, call: Call) -> Callable[[TrainState], tuple[TrainState, Numbers]]:
        """Compiled at the first call of its kind."""
        compiled, is_finite = self._train_batch(call.turns), jax.jit(finite)
        diagnosis = self._run.learner.diagnosis
        measuring = range(call.lead, call.steps, diagnosis.every) if diagnosis else ()

        def train(state):
            metrics, measured, batches = [], [], self._training(call)
            for number in range(call.steps):
                image, label, _ = self._replicas.divide(tuple(next(batches)))
                if number in measuring:
                    # To its end: processes could otherwise take it and the step in another order.
                    found = self._diagnose(state, self._hparams, image, label)
                    measured.append(_numbers(found))
                state, values = compiled(state, self._hparams, image, label)
                metrics.append(values)
                _keep_up(metrics)
            numbers = [_numbers(values) for values in metrics]
            means = {name: float(np.mean([n[name] for n in numbers])) for name in numbers[0]}
            found = {name: [n[name] for n in measured] for name in (measured or [{}])[0]}
            return state, means | {'finite': bool(is_finite(state)), 'measured': found}

        return train

    def compile_sums(self, parts: Sequence[str]) -> None:
        """Compiles `sums` ahead; one program serves all parts."""
        _ = self._evaluate_batch

    def sums(self, weights: Weights, part: str) -> tuple[Numbers, int]:
        """Every example that can be read counts once."""
        weights, totals = inferring(self._run.learner.rule, weights), []
        batches = self._run.parts[part].once(self._eval_batch_size, self._share)
        for number, batch in enumerate(batches):
            first = self._replicas.place(jnp.int32(number * self._eval_batch_size))
            images = self._replicas.divide(tuple(batch))
            totals.append(self._evaluate_batch(weights, self._hparams, first, *images))
            _keep_up(totals)
        numbers = [_numbers(each) for each in totals]
        sums = {name: sum(each[name] for each in numbers) for name in numbers[0]}
        return sums, round(sums.pop('count'))

    def diagnose(self, state: TrainState) -> Numbers:
        """On validation images; where they are fewer than a batch, black ones fill it."""
        first = next(iter(self._run.parts['validation'].once(self._run.batch_size, self._share)))
        image, label, _ = self._replicas.divide(tuple(first))
        return _numbers(self._diagnose(state, self._hparams, image, label))

    @functools.cached_property
    def _diagnose(self):
        def function(state, hparams, image, label, axis_name=None):
            images = self._images(image, label)
            return diagnose_batch(self._run.learner, state, hparams, images, axis_name)

        image, label, _ = self._example(self._run.batch_size)
        arguments = (self._like, self._hparams, image, label)
        return self._replicas.spread(function, arguments, divided=2)

    def _training(self, call: Call) -> Iterator:
        """The batches from the call's first step on."""
        first = call.position - call.steps
        if self._position != first:
            train, size = self._run.parts['train'], self._run.batch_size
            self._batches = train.training(self._run.seed, size, first, self._share)
        self._position = call.position
        return self._batches

    def _compile_train_batch(self, turns):
        def function(state, hparams, image, label, axis_name=None):
            images = self._images(image, label)
            return train_batch(self._run.learner, turns, state, hparams, images, axis_name)

        image, label, _ = self._example(self._run.batch_size)
        arguments = (self._like, self._hparams, image, label)
        return self._replicas.spread(function, arguments, divided=2, donate=(0,))

    @functools.cached_property
    def _evaluate_batch(self):
        learner = self._run.learner

        def function(weights, hparams, first, image, label, valid, axis_name=None):
            images = self._images(image, label)
            return evaluate_batch(learner, weights, hparams, first, images, valid, axis_name)

        whole = inferring(learner.rule, self._like.weights), self._hparams
        first = self._replicas.place(jnp.int32(0))
        arguments = (*whole, first, *self._example(self._eval_batch_size))
        return self._replicas.spread(function, arguments, divided=3)

    def _images(self, image, label):
        mean, std = (jnp.asarray(x, float) for x in (self._run.data.mean, self._run.data.std))
        return Images(image, label, mean, std)

    def _example(self, batch_size):
        """The arrays of a batch, as `training` and `once` give them."""
        share = batch_size // self._share[1]
        shape = (share, *self._run.parts['train'].in_shape)
        arrays = np.zeros(shape, np.uint8), np.zeros(share, np.int32), np.zeros(share, bool)
        return self._replicas.divide(arrays)


def make_feed(
    run: Run, replicas: Replicas, config: dict[str, Any], like: TrainState
) -> Resident | Streamed:
    """The feed of a run, for states like this one."""
    kind = Streamed if config['image_size'] else Resident
    return kind(run, replicas, config['eval_batch_size'], like)


def _keep_up(results: list) -> None:
    """Waits until fewer than AHEAD of the results are still being computed."""
    if len(results) >= AHEAD:
        jax.block_until_ready(results[-AHEAD])


def _numbers(metrics: dict[str, jax.Array]) -> Numbers:
    return {name: float(value) for name, value in metrics.items()}
