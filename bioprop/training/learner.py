"""What is trained, and all that training changes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.rules.base import Rule, Weights, init_weights

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


def init_state(learner: Learner, key: jax.Array, hparams: Hparams) -> TrainState:
    """The state before the first step, from one key."""
    weights = init_weights(jax.random.fold_in(key, 0), learner.network, learner.rule)
    optimizer = {
        side: make(hparams).init(weights[side]) for side, make in learner.optimizers.items()
    }
    return TrainState(jnp.zeros((), jnp.int32), jax.random.fold_in(key, 1), weights, optimizer)


def finite(state: TrainState) -> jax.Array:
    """Whether all trained weights and the optimisers' numbers are."""
    trained = {side: state.weights[side] for side in ('forward', 'feedback')}
    leaves = jax.tree.leaves((trained, state.optimizer))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
