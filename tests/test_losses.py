"""Losses: the error is the gradient of the value, the optimum its argmin over outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioprop.losses import LOSSES, reconstruction, softmax_cross_entropy

pytestmark = pytest.mark.usefixtures('quick')
LABELS = {
    'softmax_cross_entropy': lambda: jnp.array([0, 3, 2, 2, 1]),
    'squared_error': lambda: jnp.array([0, 3, 2, 2, 1]),
    'reconstruction': lambda: jax.random.uniform(jax.random.key(1), (5, 4)),
}
each_loss = pytest.mark.parametrize('name', sorted(LOSSES))


def logits():
    return 2 * jax.random.normal(jax.random.key(0), (5, 4))


def cross_entropy(output, label):
    return -np.log(output[np.arange(len(label)), label])


def squared_distance(output, label):
    return ((output - label) ** 2).sum(-1)


def half_distance_to_one_hot(output, label):
    return squared_distance(output, np.eye(4)[label]) / 2


VALUES = {
    'softmax_cross_entropy': cross_entropy,
    'squared_error': half_distance_to_one_hot,
    'reconstruction': squared_distance,
}


@each_loss
def test_error_is_the_gradient_of_value_per_example(name, x64, strict):
    loss, labels = LOSSES[name], LABELS[name]()
    expected = jax.grad(lambda a: jnp.sum(loss.value(a, labels)))(logits())
    np.testing.assert_allclose(loss.error(logits(), labels), expected, rtol=1e-10, atol=1e-14)


@each_loss
def test_value_is_the_written_loss_of_the_output(name, x64, strict):
    loss, labels = LOSSES[name], LABELS[name]()
    expected = VALUES[name](np.asarray(loss.output(logits())), np.asarray(labels))
    np.testing.assert_allclose(loss.value(logits(), labels), expected, rtol=1e-10)


@each_loss
def test_optimum_is_an_output_of_least_value(name, x64, strict):
    loss, labels = LOSSES[name], LABELS[name]()
    optimum = np.asarray(loss.optimum(logits(), labels))
    best = VALUES[name](optimum, np.asarray(labels))
    np.testing.assert_array_equal(best, 0)  # the infimum of each loss
    others = [
        np.asarray(loss.output(optimum + jax.random.normal(jax.random.key(seed), (5, 4))))
        for seed in range(20)
    ]
    assert all((VALUES[name](other, np.asarray(labels)) > best).all() for other in others)


def test_outputs_are_softmax_and_sigmoid(x64):
    a = np.asarray(logits())
    softmax = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax_cross_entropy.output(a), softmax, rtol=1e-10)
    np.testing.assert_allclose(reconstruction.output(a), 1 / (1 + np.exp(-a)), rtol=1e-10)


def test_error_of_softmax_is_output_minus_optimum(x64):
    loss, labels = softmax_cross_entropy, LABELS['softmax_cross_entropy']()
    expected = loss.output(logits()) - jnp.eye(4)[labels]
    np.testing.assert_allclose(loss.error(logits(), labels), expected, rtol=1e-10)


def test_mistake_says_whether_the_largest_logit_is_another():
    a = jnp.array([[0.0, 2.0, 1.0], [3.0, -1.0, 0.0], [0.0, 0.0, 0.5]])
    labels = jnp.array([1, 2, 2])
    np.testing.assert_array_equal(softmax_cross_entropy.mistake(a, labels), [0, 1, 0])
    assert reconstruction.mistake is None
