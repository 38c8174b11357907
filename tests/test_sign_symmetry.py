"""Sign-symmetry: magnitudes that are drawn, against one for all, on average."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import feedforward, problem

from bioprop import rules
from bioprop.rules import Context, brsf, usf

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}
DRAWS, FAR = 2000, 4.9  # standard errors, that a normal number exceeds once in a million


@pytest.mark.parametrize('net', NETS)
def test_magnitudes_of_a_minibatch_are_on_average_their_mean(net, x64):
    """E|draw| is sqrt(3)/2 of the deviation, once for every layer that a signal crosses."""
    p = problem(brsf(), hidden=NETS[net], net=net)
    same = p._replace(rule=usf()).deltas()

    @jax.jit
    @jax.vmap
    def projected(key):
        """<delta_l, usf's> / |usf's|^2, for each layer."""
        context = Context(p.loss, p.batch, key, p.hparams)
        deltas = p.rule.signals(p.network, p.weights, p.states, context)
        pairs = zip(deltas, same, strict=True)
        return jnp.stack([jnp.vdot(a, b) / jnp.vdot(b, b) for a, b in pairs])

    found = np.asarray(projected(jax.random.split(jax.random.key(0), DRAWS)))
    crossed = np.arange(found.shape[1])[::-1]
    expected = (math.sqrt(3) / 2) ** crossed
    error = found.std(axis=0, ddof=1) / math.sqrt(DRAWS)
    assert np.all(np.abs(found.mean(axis=0) - expected) <= FAR * error + 1e-12)
    assert np.all(error[:-1] < 0.02)


@pytest.mark.parametrize('name', ['usf', 'brsf', 'frsf'])
def test_feedback_starts_with_the_signs_of_the_weights_and_the_mean_of_its_magnitudes(name):
    rule = rules.get(name)
    network = feedforward((40,), (60, 50), 30)
    weights = rules.init_weights(jax.random.key(0), network, rule)
    kernels = rule.feedback_kernels(network, weights)
    assert kernels[0] is None
    for kernel, params in zip(kernels[1:], weights['forward'][1:], strict=True):
        assert np.all(np.sign(kernel) == np.sign(params['kernel']))
        deviation = math.sqrt(2 / sum(kernel.shape))
        mean = deviation if name == 'usf' else deviation * math.sqrt(3) / 2
        assert np.abs(kernel).mean() == pytest.approx(mean, rel=0.05)
