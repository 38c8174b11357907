"""BrainProp: one output's error, which over all choices is that of all."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, problem

from bioprop.losses import squared_error
from bioprop.rules import Context
from bioprop.rules.brainprop import choice

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


@pytest.mark.parametrize('net', NETS)
def test_over_every_choice_it_is_the_gradient_of_half_the_squared_error(net, x64, monkeypatch):
    p = problem('brainprop', hidden=NETS[net], net=net, loss=squared_error)
    context = Context(p.loss, p.batch, p.key, p.hparams)
    module, total = importlib.import_module('bioprop.rules.brainprop'), None
    for k in range(CLASSES):
        monkeypatch.setattr(module, 'choice', lambda output, _, k=k: jnp.full(len(output), k))
        deltas = p.rule.signals(p.network, p.weights, p.states, context)
        total = deltas if total is None else jax.tree.map(jnp.add, total, deltas)
    bp = problem('bp', hidden=NETS[net], net=net, loss=squared_error)._replace(weights=p.weights)
    for found, expected in zip(total, bp.deltas(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_the_largest_output_is_chosen_but_now_and_then_one_by_the_softmax():
    count, explore = 40_000, 0.3
    output = jnp.tile(jnp.array([1.0, 0.2, -0.4]), (count, 1))
    batch = {'index': jnp.arange(count), 'label': jnp.zeros(count, int)}
    context = Context(squared_error, batch, jax.random.key(3), {'explore': jnp.asarray(explore)})
    found = np.bincount(choice(output, context), minlength=3) / count
    expected = explore * np.asarray(jax.nn.softmax(output[0])) + [1 - explore, 0, 0]
    error = np.sqrt(expected * (1 - expected) / count)
    assert np.all(np.abs(found - expected) < 4.9 * error)
    certain = context._replace(hparams={'explore': jnp.asarray(0.0)})
    assert not np.any(choice(output, certain))
