"""Forward-forward: local losses of goodness, and what an image is read as."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, problem

from bioprop.rules import Context, forward_forward
from bioprop.rules.forward_forward import descent, goodness_of, unit, written, wrong_label

pytestmark = [pytest.mark.full, pytest.mark.usefixtures('quick')]
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), (2, 4, 1), 5), 'conv': ((2, 3, 1), (2, 4, 1), 5)}


def made(net='fc', **options):
    return problem(forward_forward(**options), 'relu', hidden=NETS[net], net=net, seed=1)


def halves(p):
    """The images with their own labels, and with wrong ones."""
    context = Context(p.loss, p.batch, p.key, p.hparams)
    own = jax.nn.one_hot(p.batch['label'], CLASSES)
    wrong = wrong_label(jnp.zeros((len(own), CLASSES)), context)
    return [written(p.batch['image'], label) for label in (own, wrong)]


@pytest.mark.parametrize(
    ('net', 'goodness'), [('fc', 'high'), ('lc', 'high'), ('conv', 'high'), ('fc', 'low')]
)
def test_hidden_layers_descend_the_losses_of_their_goodness(net, goodness, x64):
    p = made(net, goodness=goodness)
    sign = 1 if goodness == 'high' else -1

    def losses(forward):
        total = 0.0
        for x, right in zip(halves(p), (sign, -sign), strict=True):
            for layer, params in zip(p.network.layers[:-1], forward[:-1], strict=True):
                h = layer.apply(params, unit(jax.lax.stop_gradient(x)))
                g = jnp.sum(jnp.square(h).reshape(len(h), -1), axis=1)
                total += jnp.mean(jax.nn.softplus(right * (h[0].size - g)))
                x = h
        return total

    expected = jax.grad(losses)(p.weights['forward'])
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)  # noqa: E731
    jax.tree.map(close, p.updates()['forward'], expected)


def test_a_step_keeps_the_direction_of_an_examples_activities(x64):
    """relu: h becomes h (1 + 2 rate slope (|x|^2 + 1)), the 1 by the bias, so above all stays."""
    p, rate = made(), 0.01
    layer, params = p.network.layers[0], p.weights['forward'][0]
    x = unit(p.batch['image'][:1])
    h = layer.apply(params, x)
    for sign in (1.0, -1.0):
        delta = descent(h, jnp.array([sign]))
        update = layer.update(params, x, h, delta)
        new = layer.apply(jax.tree.map(lambda w, u: w - rate * u, params, update), x)
        slope = sign * jax.nn.sigmoid(sign * (h[0].size - goodness_of(h)[0]))
        factor = 1 + 2 * rate * slope * (jnp.sum(jnp.square(x)) + 1)
        np.testing.assert_allclose(new, factor * h, rtol=1e-10)
        np.testing.assert_allclose(unit(new), unit(h), rtol=1e-6)


def test_right_and_wrong_cancel_at_the_threshold(x64):
    h = jnp.ones((2, 6))  # whose goodness is its number of units
    one, other = descent(h, jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(one, -other, rtol=1e-12)
    assert np.all(one < 0)


def test_wrong_labels_are_wrong_and_drawn_evenly():
    count = 30_000
    batch = {'index': jnp.arange(count), 'label': jnp.ones(count, int)}
    context = Context(None, batch, jax.random.key(0), {})
    found = np.asarray(wrong_label(jnp.zeros((count, CLASSES)), context)).mean(axis=0)
    expected = np.where(np.arange(CLASSES) == 1, 0, 1 / (CLASSES - 1))
    assert np.all(np.abs(found - expected) <= 4.9 * np.sqrt(expected * (1 - expected) / count))


@pytest.mark.parametrize(
    ('net', 'goodness'), [('fc', 'high'), ('lc', 'high'), ('conv', 'high'), ('fc', 'low')]
)
def test_an_image_is_read_by_trying_every_label(net, goodness, x64):
    p = made(net, goodness=goodness)
    logits = []
    for k in range(CLASSES):
        x, total = written(p.batch['image'], jax.nn.one_hot(jnp.array([k]), CLASSES)), 0.0
        for l, layer in enumerate(p.network.layers[:-1]):
            x = layer.apply(p.weights['forward'][l], unit(x))
            total += (l > 0) * np.sum(np.square(x).reshape(len(x), -1), axis=1)
        logits.append(total if goodness == 'high' else -total)
    np.testing.assert_allclose(p.states[-1], np.stack(logits, axis=1), rtol=1e-10)


def test_one_pass_learns_read_outs_of_all_hidden_layers_but_the_first(x64):
    p = made(read='one_pass')
    first, *read, top = p.weights['feedback']
    assert first is None
    assert top is None
    assert len(read) == 2

    def loss(feedback):
        states = p.states
        z = sum(
            unit(h) @ own['kernel'] + jnp.broadcast_to(own['bias'], (len(h), CLASSES))
            for h, own in zip(states[2:-1], feedback[1:-1], strict=True)
        )
        return jnp.mean(p.loss.value(z, p.batch['label'])), z

    (_, z), expected = jax.value_and_grad(loss, has_aux=True)(p.weights['feedback'])
    np.testing.assert_allclose(p.states[-1], z, rtol=1e-10)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)  # noqa: E731
    jax.tree.map(close, p.updates()['feedback'], expected)


def test_a_net_of_one_hidden_layer_is_read_from_it(x64):
    p = problem(forward_forward(), 'relu', hidden=(7,), seed=1)
    x = written(p.batch['image'], jax.nn.one_hot(jnp.array([2]), CLASSES))
    h = p.network.layers[0].apply(p.weights['forward'][0], unit(x))
    np.testing.assert_allclose(p.states[-1][:, 2], goodness_of(h), rtol=1e-10)
