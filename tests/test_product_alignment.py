"""Product feedback alignment: through two matrices that do what one would."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import feedforward, problem

from bioprop.rules import init_weights, kolen_pollack, product_fa
from bioprop.training import optim
from bioprop.training.learner import Learner, init_state
from bioprop.training.schedules import BOTH
from bioprop.training.step import train_step

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def with_orthonormal_rows(p):
    """M_l M_l^T = I."""
    mixers = [np.linalg.qr(np.asarray(m).T)[0].T for m in p.weights['fixed'][1:]]
    return p._replace(weights=p.weights | {'fixed': (None, *map(jnp.asarray, mixers))})


@pytest.mark.parametrize('net', NETS)
def test_the_gap_of_the_product_to_the_weights_shrinks_by_the_decay_of_each_step(net, x64):
    lr, decay, steps = 0.05, 0.3, 5
    p = with_orthonormal_rows(problem(product_fa(2), hidden=NETS[net], net=net))
    sgd = functools.partial(optim.optimizer, 'sgd', lr, weight_decay=decay)
    optimizers = {side: lambda hparams: sgd() for side in BOTH}
    learner = Learner(p.network, p.rule, p.loss, optimizers)
    state = init_state(learner, p.key, p.hparams)._replace(weights=p.weights)
    step = jax.jit(functools.partial(train_step, learner, (BOTH,)))

    def gaps(weights):
        products = p.rule.feedback_kernels(p.network, weights)[1:]
        pairs = zip(products, weights['forward'][1:], strict=True)
        return [np.asarray(product - params['kernel']) for product, params in pairs]

    start = gaps(state.weights)
    for _ in range(steps):
        state, _ = step(state, p.batch, p.hparams)
    for old, new in zip(start, gaps(state.weights), strict=True):
        np.testing.assert_allclose(new, (1 - lr * decay) ** steps * old, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('net', NETS)
def test_through_the_identity_it_is_kolen_pollack(net, x64):
    p = problem(kolen_pollack(), hidden=NETS[net], net=net)
    identities = [jnp.eye(layer.kernel_shape[-1]) for layer in p.network.layers[1:]]
    q = p._replace(rule=product_fa(1), weights=p.weights | {'fixed': (None, *identities)})
    found, expected = ({side: each.updates()[side] for side in BOTH} for each in (q, p))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), found, expected)


def test_the_mixing_is_on_average_an_isometry_and_feedback_starts_like_the_weights():
    network = feedforward((30,), (40,), 50)
    weights = init_weights(jax.random.key(0), network, product_fa(8))
    mixer, kernel = weights['fixed'][1], weights['feedback'][1]['kernel']
    assert (mixer.shape, kernel.shape) == ((50, 400), (40, 400))
    np.testing.assert_allclose(mixer @ mixer.T, np.eye(50), atol=0.3)
    assert float(kernel.std()) == pytest.approx(
        float(weights['forward'][1]['kernel'].std()), rel=0.05
    )
