"""Transformations of steps that rules may ask for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bioprop.rules import transforms

pytestmark = pytest.mark.usefixtures('quick')


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize('shape', [(4, 4), (2, 3, 3)])
def test_an_orthogonal_step_is_down_the_gradient_of_the_excess(x64, shape):
    kernel, bias = random(*shape), random(shape[-1])

    def excess(kernel):
        gram = kernel.mT @ kernel
        identity = jnp.broadcast_to(jnp.eye(shape[-1]), gram.shape)
        return 0.3 / 4 * jnp.sum(jnp.square(gram - identity))

    steps = ({'kernel': jnp.zeros(shape), 'bias': jnp.ones(shape[-1])},)
    params = ({'kernel': kernel, 'bias': bias},)
    change = transforms.orthogonal(0.3)
    (found,), _ = change.update(steps, change.init(params), params)
    np.testing.assert_allclose(found['kernel'], -jax.grad(excess)(kernel), rtol=1e-10)
    np.testing.assert_array_equal(found['bias'], 1)


def test_orthogonal_steps_end_at_orthogonal_kernels_and_leave_others_alone(x64):
    params = ({'kernel': random(4, 4) / 3}, {'kernel': random(6, 3)})
    change, zeros = transforms.orthogonal(0.5), jax.tree.map(jnp.zeros_like, params)
    for _ in range(100):
        steps, _ = change.update(zeros, change.init(params), params)
        np.testing.assert_array_equal(steps[1]['kernel'], 0)
        params = optax.apply_updates(params, steps)
    kernel = params[0]['kernel']
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-8)


def test_no_entry_crosses_zero():
    kernel = jnp.array([[1.0, -1.0, 0.5, -0.5, 0.0]])
    steps = {'kernel': jnp.array([[-2.0, 0.5, -0.25, 3.0, -1.0]]), 'bias': jnp.array([-9.0])}
    params = {'kernel': kernel, 'bias': jnp.array([1.0])}
    change = transforms.keeping_signs()
    found, _ = change.update(steps, change.init(params), params)
    new = optax.apply_updates(params, found)
    np.testing.assert_array_equal(new['kernel'], [[0, -0.5, 0.25, 0, -1]])  # 0 has no sign yet
    assert new['bias'] == -8


def test_a_factor_is_a_rate_of_its_own():
    change = transforms.scaled(0.25)
    found, _ = change.update({'kernel': jnp.ones(2)}, change.init(None))
    np.testing.assert_array_equal(found['kernel'], 0.25)
