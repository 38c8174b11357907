"""From a resolved configuration to what is trained: data, network, rule, optimisers."""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from bioprop import dale, diagnostics, networks
from bioprop.data import sets, stream
from bioprop.data.augment import crop_and_flip
from bioprop.errors import UserError
from bioprop.losses import LOSSES
from bioprop.rules import Rule, trained_sides
from bioprop.settings import resolve
from bioprop.settings.keys import OPTIONS, SIDES
from bioprop.training import optim
from bioprop.training.images import Images, scaling
from bioprop.training.learner import Diagnosis, Hparams, Learner
from bioprop.training.schedules import FEEDBACK, passes


class Run(NamedTuple):
    """What a configuration stands for, ready to be stepped."""

    learner: Learner
    data: sets.Dataset
    parts: dict[str, Any]  # 'train', 'validation', 'test': Images on the device, or streams
    hparams: Hparams
    passes: tuple  # of the schedule, restricted to the sides that the rule trains
    steps_per_pass: int
    batch_size: int
    seed: int
    epochs: int
    pretraining: int = 0  # passes of feedback alone before the first epoch

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches of an epoch, over all its passes."""
        return self.steps_per_pass * len(self.passes)

    @property
    def last_step(self) -> int:
        """Minibatches of the pretraining and all epochs."""
        return self.first_step + self.epochs * self.steps_per_epoch

    @property
    def first_step(self) -> int:
        """Minibatches of the pretraining."""
        return self.pretraining * self.steps_per_pass

    def epoch(self, position: int) -> float:
        """Those that are done at that step; 0 in the pretraining."""
        return max(0, position - self.first_step) / self.steps_per_epoch

    def turns(self, number: int) -> tuple[tuple[str, ...], ...]:
        """What a pass does with each minibatch."""
        if number < self.pretraining:
            return (FEEDBACK,)
        return self.passes[(number - self.pretraining) % len(self.passes)]


def passes_of(config: dict[str, Any], learner: Learner) -> tuple:
    """The passes of an epoch."""
    steps, more = config['feedback_steps'], config['feedback_passes']
    return passes(config['schedule'], tuple(learner.optimizers), steps, more)


def make_run(config: dict[str, Any], devices: int = 1) -> Run:
    """Finds the data and builds the learner. Raises UserError for what does not fit together."""
    data = load(config)
    learner = make_learner(config, data)
    batch_size, examples = config['batch_size'], data.train.examples
    parts = devices * config['accumulate']
    if batch_size % parts:
        raise UserError(
            f'config.batch_size = {batch_size} must be a multiple of {devices} devices'
            + (f' x accumulate = {config["accumulate"]}' if config['accumulate'] > 1 else '')
        )
    steps_per_pass = examples // batch_size
    if not steps_per_pass:
        raise UserError(
            f'config.batch_size = {batch_size} exceeds the training set of {examples} images'
        )
    return Run(
        learner,
        data,
        data.parts if config['image_size'] else _on_device(data, learner),
        make_hparams(config, learner),
        passes_of(config, learner),
        steps_per_pass,
        batch_size,
        config['seed'],
        config['epochs'],
        config['feedback_pretraining'],
    )


def load(config: dict[str, Any]) -> sets.Dataset:
    """The data of a configuration: in memory, or as streams of crops where it has image_size."""
    name, folder, held_out = (config[x] for x in ('dataset', 'data_dir', 'validation_fraction'))
    if config['image_size'] is None:
        data = sets.load(name, held_out, folder)
    else:
        size, augment = config['image_size'], config['augment']
        data = stream.open_stream(name, folder, size, held_out, augment)
    mean, std = scaling(config['inputs'], data.mean, data.std, data.train)
    return data._replace(mean=mean, std=std)


def make_hparams(config: dict[str, Any], learner: Learner) -> Hparams:
    """The values that a program traces. Raises UserError for a wrong number of them."""
    hparams = {name: jnp.asarray(x, float) for name, x in resolve.hparams(config).items()}
    for name, value in hparams.items():
        if value.shape not in ((), (len(learner.network.layers),)):
            raise UserError(
                f'config.{name} has {value.size} values: give one, or one for each of the '
                f'{len(learner.network.layers)} layers'
            )
    return hparams


class Call(NamedTuple):
    """One scan of training steps, within one pass over the training set."""

    turns: tuple[tuple[str, ...], ...]
    steps: int
    position: int  # the step that it ends at
    epoch: int
    evaluated: bool  # whether the scores are taken after it
    last: bool
    lead: int  # steps of it before the first that is diagnosed, as every so many of a pass are


def calls(config: dict[str, Any], run: Run, position: int) -> Iterator[Call]:
    """The calls that train from step `position` to the end of config['epochs']."""
    last, diagnosis = run.last_step, run.learner.diagnosis
    while position < last:
        number, done = divmod(position, run.steps_per_pass)
        left = run.steps_per_pass - done
        steps = min(config['steps_per_call'] or left, left)
        position += steps
        done_epochs = run.epoch(position)
        yield Call(
            run.turns(number),
            steps,
            position,
            math.ceil(done_epochs),
            position == last or (done_epochs > 0 and done_epochs % config['eval_every'] == 0),
            position == last,
            min(-done % diagnosis.every, steps) if diagnosis else 0,
        )


def make_learner(config: dict[str, Any], data: sets.Dataset) -> Learner:
    """The network, rule, loss, optimisers and augmentation that a resolved configuration names.

    Raises UserError for what does not fit together.
    """
    rule, loss = resolve.make_rule(config), LOSSES[config['loss']]
    *places, channels = data.train.in_shape
    in_shape = (*places, channels * (2 if config['inputs'] == 'on_off' else 1))
    if loss.reconstructs and in_shape[-1] != 1:
        raise UserError(f'loss {config["loss"]!r} reconstructs grey images, not {in_shape}')
    outputs = math.prod(in_shape) if loss.reconstructs else data.classes
    try:
        network = networks.feedforward(
            in_shape, config['hidden'], outputs, config['activation'], config['net']
        )
    except ValueError as error:
        raise UserError(
            f'config.hidden = {config["hidden"]} makes no net on images of {in_shape}: {error}'
        ) from error
    if config['signs'] is not None:
        if config['inputs'] == 'standardised' and channels > 1:  # grey pixels stay in [0, 1]
            raise UserError(
                'config.signs needs inputs that are not negative: inputs=unit, or on_off'
            )
        rule = dale.constrained(rule, network, config['signs'])
    sides = trained_sides(network, rule)
    resolve.check_sides(config, rule, sides)
    optimizers = {side: functools.partial(_optimizer, config, rule, side) for side in sides}
    on_device = config['augment'] and not config['image_size']  # streams crop what they decode
    names = diagnostics.named(config['diagnostics'])
    return Learner(
        network, rule, loss, optimizers, crop_and_flip if on_device else None,
        config['precision'], config['accumulate'],
        Diagnosis(names, config['diagnostics_every']) if names else None,
    )  # fmt: skip


def _optimizer(config: dict[str, Any], rule: Rule, side: str, hparams: Hparams):
    prefix = SIDES[side]
    options = {
        option: hparams[prefix + name]
        for name, option in OPTIONS.items()
        if prefix + name in hparams
    }
    chain = optim.optimizer(
        config[f'{prefix}optimizer'],
        hparams[f'{prefix}lr'],
        clip=hparams.get(f'{prefix}clip'),
        weight_decay=hparams.get(f'{prefix}weight_decay'),
        coupled=config[f'{prefix}decay'] == 'coupled',
        **options,
    )
    asked = [make(hparams) for own, make in rule.transforms if own == side]
    return optax.chain(chain, *asked) if asked else chain


def _on_device(data: sets.Dataset, learner: Learner) -> dict[str, Images]:
    mean, std = (jnp.asarray(value, float) for value in (data.mean, data.std))
    return {
        name: Images(
            jnp.asarray(part.image),
            None if learner.loss.reconstructs else jnp.asarray(part.label),
            mean,
            std,
        )
        for name, part in data.parts.items()
    }
