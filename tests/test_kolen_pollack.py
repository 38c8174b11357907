"""Kolen-Pollack: feedback comes to be the weights, at the rate that decay and learning rate set."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners import make_hparams, make_images, make_learner, random_state

from bioprop.training.passes import train_steps
from bioprop.training.schedules import BOTH, FORWARD

pytestmark = pytest.mark.usefixtures('quick')
BATCH, STEPS, DECAY, LR = 6, 5, 0.3, 0.05
NETS = {'fc': (5, 3), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def trained(learner, state, sides=BOTH):
    """The state after some steps."""
    train = jax.jit(functools.partial(train_steps, learner, (sides,), BATCH, STEPS))
    return train(state, make_images(), make_hparams(LR))[0]


def kernels(state, side):
    return [params['kernel'] for params in state.weights[side][1:]]


def learner_and_state(optimizer, net):
    learner = make_learner('kolen_pollack', optimizer, NETS[net], net, weight_decay=DECAY)
    state = random_state(learner)
    start = {side: learner.optimizers[side](make_hparams(LR)) for side in learner.optimizers}
    moments = {side: make.init(state.weights[side]) for side, make in start.items()}
    return learner, state._replace(step=jnp.zeros_like(state.step), optimizer=moments)


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_the_gap_shrinks_by_the_decay_of_each_step(optimizer, net, x64):
    """W - B is (1 - lr decay)^t of what it was, whatever was learned."""
    learner, old = learner_and_state(optimizer, net)
    new = trained(learner, old)
    for w, b, w0, b0 in zip(
        *(kernels(state, side) for state in (new, old) for side in ('forward', 'feedback')),
        strict=True,
    ):
        assert np.abs(np.asarray(w - w0)).max() > 1e-3
        expected = (1 - LR * DECAY) ** STEPS * np.asarray(w0 - b0)
        np.testing.assert_allclose(w - b, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('net', NETS)
def test_from_equal_starts_it_is_backpropagation_for_ever(net, x64):
    learner, old = learner_and_state('adam', net)
    feedback = (None, *({'kernel': kernel} for kernel in kernels(old, 'forward')))
    new = trained(learner, old._replace(weights=old.weights | {'feedback': feedback}))
    plain = make_learner('bp', 'adam', NETS[net], net, weight_decay=DECAY)
    forward = {'forward': old.weights['forward'], 'feedback': (), 'fixed': ()}
    optimizer = {'forward': old.optimizer['forward']}
    expected = trained(plain, old._replace(weights=forward, optimizer=optimizer), FORWARD)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13),
        new.weights['forward'], expected.weights['forward'],
    )  # fmt: skip
