"""A small learner of any rule, with data and a state in the middle of a run."""

import jax
import jax.numpy as jnp
import numpy as np
from problems import CLASSES, HPARAMS, IN_SHAPE, feedforward, make_rule, random_like

from bioprop.losses import softmax_cross_entropy
from bioprop.rules import trained_sides
from bioprop.training import optim, parallel
from bioprop.training.images import Images
from bioprop.training.learner import Learner, init_state

EXAMPLES = 37


def make_learner(name, optimizer='adam', hidden=(5, 3), net='fc', **options):
    """A learner of a small net; options are those of both sides' optimiser."""

    def make(hparams):
        return optim.optimizer(optimizer, hparams['lr'], **options)

    network, rule = feedforward(IN_SHAPE, hidden, CLASSES, net=net), make_rule(name)
    sides = trained_sides(network, rule)
    return Learner(network, rule, softmax_cross_entropy, dict.fromkeys(sides, make))


def make_hparams(lr=0.01):
    return {name: jnp.asarray(value, float) for name, value in (HPARAMS | {'lr': lr}).items()}


def make_images(examples=EXAMPLES):
    random = np.random.default_rng(1)
    return Images(
        image=jnp.asarray(random.integers(256, size=(examples, *IN_SHAPE)), jnp.uint8),
        label=jnp.asarray(random.integers(CLASSES, size=examples), jnp.int32),
        mean=jnp.asarray([100.0], float),
        std=jnp.asarray([50.0], float),
    )


def random_state(learner):
    """A state in the middle of a run: random weights and biases, moments and counts not zero."""
    state = init_state(learner, jax.random.key(0), make_hparams())
    random = np.random.default_rng(2)
    weights = random_like(random, state.weights)
    optimizer = jax.tree.map(
        lambda x: x + 3 if jnp.issubdtype(x.dtype, jnp.integer)
        else jnp.asarray(random.uniform(0.1, 1, size=x.shape), x.dtype),
        state.optimizer,
    )  # fmt: skip
    return state._replace(weights=weights, optimizer=optimizer, step=state.step + 4)


def replicas(devices, mode='pmap'):
    return parallel.Replicas(mode, tuple(jax.devices()[:devices]))
