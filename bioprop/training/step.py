"""Training and evaluation as pure functions of the state, for one device or many.

A step is written for one device: with an `axis_name` it sees its share of the batch and averages
over the axis, whatever wraps it (pmap, shard_map, vmap).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bioprop import diagnostics
from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.objective import objective
from bioprop.rules.base import Rule, Weights, init_weights
from bioprop.training.precision import cast, widened

# A schedule is the passes over the training set that make up an epoch. A pass gives the turns that
# it takes on each minibatch, and a turn names the sides that it updates together.
BOTH, FEEDBACK, FORWARD = ('forward', 'feedback'), ('feedback',), ('forward',)
SCHEDULES = {
    'parallel': ((BOTH,),),
    'alternating': ((FEEDBACK,), (FORWARD,)),
    'alternating_step': ((FEEDBACK, FORWARD),),
}

Hparams = dict[str, Any]
Optimizer = Callable[[Hparams], optax.GradientTransformation]
Augment = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (key, index, pixels) -> pixels


class Diagnosis(NamedTuple):
    """What is measured while training, and how often."""

    names: tuple[str, ...]  # of bioprop.diagnostics
    every: int  # minibatches, from the first of each pass on


class Learner(NamedTuple):
    """What is trained, and how: the static part of a run."""

    network: Network
    rule: Rule
    loss: Loss
    optimizers: dict[str, Optimizer]  # 'forward' and 'feedback'
    augment: Augment | None = None  # of the minibatches that are trained on, before scaling
    precision: str = 'float32'  # type that is computed in; weights keep their own
    accumulate: int = 1  # parts of a device's share of a minibatch that are taken one by one
    diagnosis: Diagnosis | None = None


class TrainState(NamedTuple):
    """All that training changes, and the key that it draws from."""

    step: jax.Array  # minibatches seen, over all passes
    key: jax.Array  # never changes; everything random is folded out of it
    weights: Weights
    optimizer: dict[str, optax.OptState]  # 'forward' and 'feedback'


class Images(NamedTuple):
    """A set of images on the device, and how its pixels become inputs."""

    image: jax.Array  # (examples, height, width, channels), uint8
    label: jax.Array | None  # (examples,), int32; None where the input is to be reconstructed
    mean: jax.Array  # (channels,), in pixel units
    std: jax.Array

    def at(self, places: jax.Array) -> 'Images':
        """Those at `places`."""
        label = None if self.label is None else self.label[places]
        return self._replace(image=self.image[places], label=label)

    def batch(
        self, augment: Callable[[jax.Array], jax.Array] | None = None
    ) -> dict[str, jax.Array]:
        """The inputs, standardised; augment changes the pixels before that."""
        pixels = augment(self.image) if augment else self.image
        pixels = pixels.astype(self.mean.dtype)
        mean, std = (jnp.broadcast_to(x, pixels.shape) for x in (self.mean, self.std))
        image = (pixels - mean) / std
        label = image.reshape(len(image), -1) if self.label is None else self.label
        return {'image': image, 'label': label}


def init_state(learner: Learner, key: jax.Array, hparams: Hparams) -> TrainState:
    """The state before the first step, from one key."""
    weights = init_weights(jax.random.fold_in(key, 0), learner.network, learner.rule)
    optimizer = {
        side: make(hparams).init(weights[side]) for side, make in learner.optimizers.items()
    }
    return TrainState(jnp.zeros((), jnp.int32), jax.random.fold_in(key, 1), weights, optimizer)


def train_step(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    state: TrainState,
    batch: dict[str, jax.Array],
    hparams: Hparams,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One minibatch: each turn updates its sides and leaves the other side's state untouched.

    Returns the state and the metrics of the batch: 'loss', 'error' (percent) and 'feedback_loss',
    where the learner has them.
    """
    key = jax.random.fold_in(state.key, state.step)
    weights, optimizer = dict(state.weights), dict(state.optimizer)
    metrics = {}
    for sides in turns:
        updates, values = mean_updates(learner, sides, weights, batch, key, hparams)
        metrics |= values
        if axis_name:
            updates = jax.lax.pmean(updates, axis_name)
        for side in sides:
            direction, optimizer[side] = learner.optimizers[side](hparams).update(
                updates[side], optimizer[side], weights[side]
            )
            weights[side] = optax.apply_updates(weights[side], direction)
    if axis_name:
        metrics = jax.lax.pmean(metrics, axis_name)
    return TrainState(state.step + 1, state.key, weights, optimizer), metrics


def mean_updates(
    learner: Learner,
    sides: tuple[str, ...],
    weights: Weights,
    batch: dict[str, jax.Array],
    key: jax.Array,
    hparams: Hparams,
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """The rule's updates of the sides, and the metrics, averaged over the batch.

    With learner.accumulate above 1 parts of the batch are taken one after another.
    """
    if learner.accumulate == 1:
        return _updates(learner, sides, weights, batch, key, hparams)
    parts = jax.tree.map(
        lambda x: x.reshape(learner.accumulate, len(x) // learner.accumulate, *x.shape[1:]), batch
    )
    one = functools.partial(_updates, learner, sides, weights, key=key, hparams=hparams)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(one, jax.tree.map(lambda x: x[0], parts)),
    )
    totals, _ = jax.lax.scan(
        lambda totals, part: (jax.tree.map(jnp.add, totals, one(part)), None), zeros, parts
    )
    return jax.tree.map(lambda total: total / learner.accumulate, totals)


def _updates(learner, sides, weights, batch, key, hparams):
    loss = widened(learner.loss, learner.precision)
    f = objective(learner.network, learner.rule, loss)
    whole, batch, hparams = cast((weights, batch, hparams), learner.precision)

    def trained(part):
        return f(whole | cast(part, learner.precision), batch, key, hparams)

    (value, aux), updates = jax.value_and_grad(trained, has_aux=True)(
        {side: weights[side] for side in sides}
    )
    metrics = {}
    if 'forward' in sides:
        metrics['loss'] = value
        if loss.mistake:
            metrics['error'] = 100 * jnp.mean(loss.mistake(aux['logits'], batch['label']))
    if 'feedback' in sides and 'feedback_loss' in aux:
        metrics['feedback_loss'] = jnp.asarray(aux['feedback_loss'], value.dtype)
    return updates, metrics


def train_steps(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    batch_size: int,
    steps: int,
    state: TrainState,
    images: Images,
    hparams: Hparams,
    axis_name: str | None = None,
    lead: int = 0,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """`steps` minibatches of the current pass, in one scan.

    Returns the state, the mean of the metrics, and in 'finite' whether the state still is. Where
    the learner has a diagnosis, 'measured' holds its numbers, (times,) each: of the minibatches
    lead, lead + every, ... before they are trained on.

    The pass and the place in it follow from state.step alone. Each pass has its own order and its
    own augmentation, and drops the remainder of the set. With an axis_name every device takes its
    share of each batch.
    """
    examples = len(images.image)
    steps_per_pass = examples // batch_size
    number, first = jnp.divmod(state.step, steps_per_pass)
    key = jax.random.fold_in(state.key, -1 - number)  # of the pass; rules get those of the steps
    order = jax.random.permutation(key, examples)
    places = jax.lax.dynamic_slice_in_dim(order, first * batch_size, steps * batch_size)
    devices, device = _place_on(axis_name)
    index = device * (batch_size // devices) + jnp.arange(batch_size // devices)

    def batch_at(state, places):
        augment = learner.augment and functools.partial(
            learner.augment, jax.random.fold_in(key, -1 - state.step), index
        )
        return images.at(places[index]).batch(augment) | {'index': index}

    def body(state, places):
        batch = batch_at(state, places)
        return train_step(learner, turns, state, batch, hparams, axis_name)

    def measure(state, places):
        return diagnose(learner, state, batch_at(state, places), hparams, axis_name)

    places = places.reshape(steps, batch_size)
    if learner.diagnosis:
        every = learner.diagnosis.every
        state, metrics, measured = _scan_and_measure(body, measure, state, places, lead, every)
    else:
        state, metrics = jax.lax.scan(body, state, places)
        measured = {}
    return state, jax.tree.map(jnp.mean, metrics) | {'finite': finite(state)} | measured


def _scan_and_measure(body, measure, state, places, lead, every):
    """A scan of body over places, and measure before those at lead, lead + every, ...

    lead is at most all steps. Returns (state, metrics, {'measured': numbers}); {} where there are
    none.
    """

    def run(state, places):
        numbers = measure(state, places[0])
        state, metrics = jax.lax.scan(body, state, _once_known(numbers, places))
        return state, (metrics, numbers)

    found, measured, steps = [], [], len(places)
    whole, rest = divmod(steps - lead, every)
    if lead:
        state, metrics = jax.lax.scan(body, state, places[:lead])
        found.append(metrics)
    if whole:
        runs = places[lead : steps - rest].reshape(whole, every, -1)
        state, (metrics, numbers) = jax.lax.scan(run, state, runs)
        found.append(jax.tree.map(jnp.ravel, metrics))
        measured.append(numbers)
    if rest:
        state, (metrics, numbers) = run(state, places[steps - rest :])
        found.append(metrics)
        measured.append(jax.tree.map(lambda x: x[None], numbers))
    metrics = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    if not measured:
        return state, metrics, {}
    return state, metrics, {'measured': jax.tree.map(lambda *p: jnp.concatenate(p), *measured)}


def _once_known(numbers, places):
    """The places, which depend on every one of the numbers.

    A scan that could begin before the last look at the weights would work on a copy of them.
    """
    total = sum(jax.tree.leaves(numbers), jnp.zeros(()))
    never = jnp.isnan(total) & jnp.isinf(total)
    return places + never.astype(places.dtype)


def train_batch(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    state: TrainState,
    hparams: Hparams,
    images: Images,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """A minibatch that comes from outside: `images` are this device's share of it."""
    batch = _numbered(images, axis_name)
    return train_step(learner, turns, state, batch, hparams, axis_name)


def _numbered(images: Images, axis_name: str | None) -> dict[str, jax.Array]:
    """A device's share of a batch, with the places of its examples in the whole."""
    _, device = _place_on(axis_name)
    share = len(images.image)
    return images.batch() | {'index': device * share + jnp.arange(share)}


def diagnose(
    learner: Learner,
    state: TrainState,
    batch: dict[str, jax.Array],
    hparams: Hparams,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """The numbers of the learner's diagnosis on a batch, in the weights' own precision.

    Where a device takes its share in parts, the first of them stands for all.
    """
    part = len(batch['index']) // learner.accumulate
    batch = jax.tree.map(lambda x: x[:part], batch)
    key = jax.random.fold_in(state.key, state.step)
    return diagnostics.measure(
        learner.diagnosis.names, learner.network, learner.rule, learner.loss,
        state.weights, batch, key, hparams, axis_name,
    )  # fmt: skip


def finite(state: TrainState) -> jax.Array:
    """Whether all trained weights and the optimisers' numbers are."""
    trained = {side: state.weights[side] for side in ('forward', 'feedback')}
    leaves = jax.tree.leaves((trained, state.optimizer))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _place_on(axis_name: str | None) -> tuple[int, jax.Array | int]:
    """(size of the axis, place on it); (1, 0) without one."""
    if axis_name is None:
        return 1, 0
    return jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)


def evaluate(
    learner: Learner,
    batch_size: int,
    weights: Weights,
    images: Images,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Sums of the 'loss' and 'mistake' over the set; every example counts exactly once."""
    examples = len(images.image)
    devices, device = _place_on(axis_name)
    share = -(-batch_size // devices)

    def body(totals, first):
        places = first + device * share + jnp.arange(share)
        part = images.at(jnp.minimum(places, examples - 1))
        return jax.tree.map(jnp.add, totals, _sums(learner, weights, part, places < examples)), None

    names = ('loss', 'mistake') if learner.loss.mistake else ('loss',)
    zeros = {name: jnp.zeros((), images.mean.dtype) for name in names}
    totals, _ = jax.lax.scan(body, zeros, jnp.arange(0, examples, share * devices))
    return jax.lax.psum(totals, axis_name) if axis_name else totals


def diagnose_part(
    learner: Learner,
    batch_size: int,
    state: TrainState,
    hparams: Hparams,
    images: Images,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """The numbers of the learner's diagnosis on the first images of a set.

    Where they are fewer than a batch, they come again.
    """
    devices, device = _place_on(axis_name)
    share = batch_size // devices
    part = images.at((device * share + jnp.arange(share)) % len(images.image))
    return diagnose_batch(learner, state, hparams, part, axis_name)


def diagnose_batch(
    learner: Learner,
    state: TrainState,
    hparams: Hparams,
    images: Images,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """The same on a batch from outside: `images` are this device's share of it."""
    return diagnose(learner, state, _numbered(images, axis_name), hparams, axis_name)


def evaluate_batch(
    learner: Learner,
    weights: Weights,
    images: Images,
    valid: jax.Array,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Sums of the 'loss' and 'mistake' over the valid ones of a batch, and their 'count'.

    images and valid, (examples,), are this device's share.
    """
    sums = _sums(learner, weights, images, valid) | {'count': jnp.sum(valid)}
    return jax.lax.psum(sums, axis_name) if axis_name else sums


def _sums(learner, weights, images, counted):
    loss = widened(learner.loss, learner.precision)
    forward, batch = cast((weights['forward'], images.batch()), learner.precision)
    logits = learner.network.states(forward, batch['image'])[-1]
    values = {'loss': loss.value(logits, batch['label'])}
    if loss.mistake:
        values['mistake'] = loss.mistake(logits, batch['label'])
    return {name: jnp.sum(jnp.where(counted, value, 0)) for name, value in values.items()}
