"""What is measured of the rule at work, on the way."""

import jax
import jax.numpy as jnp

from bioprop import diagnostics
from bioprop.training.images import Images, numbered
from bioprop.training.learner import Hparams, Learner, TrainState
from bioprop.training.parallel import place_on


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
    devices, device = place_on(axis_name)
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
    return diagnose(learner, state, numbered(images, axis_name), hparams, axis_name)
