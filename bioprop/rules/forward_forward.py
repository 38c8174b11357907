"""Forward-forward (Hinton 2022), supervised: two forward passes, one with a wrong label.

The label is written over the first K inputs. With u(h) = h / rms(h), of each example,

    x_1 = u(input),  h_l = relu(W_l x_l + b_l),  x_{l+1} = u(h_l)        G_l = |h_l|^2

Every hidden layer descends softplus(theta - G_l) under the right label and softplus(G_l - theta)
under a wrong one, theta being its number of units; goodness='low' exchanges the two. Nothing comes
down from above. What an image shows is read

    read='goodness'   by trying every label: h_{L,k} is the sum of G_l under label k, over all
                      hidden layers but the first (which sees the label), or of a single one
    read='one_pass'   by a softmax of x_3, ..., x_L together, under the label 1/K everywhere, which
                      learns beside: a read-out of each of these layers

and the top layer of the network is left as it is. Written pixels are 1 and 0, for inputs in [0, 1].
"""

import math

import jax
import jax.numpy as jnp

from bioprop.errors import unknown
from bioprop.layers import ACTIVATIONS, dense
from bioprop.rules.base import Rule

READ, GOODNESS = ('goodness', 'one_pass'), ('high', 'low')
RELU = ACTIVATIONS['relu'].function


def forward_forward(read: str = 'goodness', goodness: str = 'high') -> Rule:
    """Forward-forward, for hidden layers of relu. Raises UserError for another option."""
    if read not in READ:
        raise unknown('read', read, READ)
    if goodness not in GOODNESS:
        raise unknown('goodness', goodness, GOODNESS)
    right = 1 if goodness == 'high' else -1

    def init(key, network, forward):
        if read == 'goodness':
            return (), ()
        made = [own and jax.tree.map(jnp.zeros_like, own.init(key)) for own in readouts(network)]
        return (*made, None), ()

    def infer(network, weights, context):
        image, classes = context.batch['image'], network.out_shape[0]
        neutral = passed(network, weights, written(image, jnp.full((1, classes), 1 / classes)))
        if read == 'one_pass':
            return (*neutral, read_out(network, weights, neutral))
        counted = slice(min(2, len(neutral) - 1), None)

        def total(label):
            states = passed(network, weights, written(image, label[None]))
            return sum(goodness_of(h) for h in states[counted])

        logits = right * jax.lax.map(total, jnp.eye(classes, dtype=image.dtype)).T
        return (*neutral, logits)

    def updates(network, weights, states, context):
        image, forward = context.batch['image'], weights['forward']
        labels = jnp.concatenate([context.loss.optimum(states[-1], context.batch['label']),
                                  wrong_label(states[-1], context)])  # fmt: skip
        sign = right * jnp.repeat(jnp.array([1, -1], image.dtype), len(image))
        x = written(jnp.concatenate([image, image]), labels)
        found = []
        for layer, params in zip(network.layers[:-1], forward[:-1], strict=True):
            x = unit(x)
            h = layer.apply(params, x)
            delta = 2 * descent(h, sign)  # the mean over each half, not over both
            found.append(layer.update(params, x, h, delta))
            x = h
        still = jax.tree.map(jnp.zeros_like, forward[-1])
        return {
            'forward': (*found, still),
            'feedback': learned(network, weights, states, context) if read == 'one_pass' else (),
        }

    return Rule(init, updates=updates, infer=infer)


def unit(h: jax.Array) -> jax.Array:
    """u(h): the example's own scale is taken out."""
    mean = jnp.mean(jnp.square(h), axis=range(1, h.ndim), keepdims=True)
    return h / (jnp.sqrt(mean) + 1e-8)


def written(image: jax.Array, label: jax.Array) -> jax.Array:
    """The images with the labels (batch or 1, K) in the place of their first K inputs."""
    flat, classes = image.reshape(len(image), -1), label.shape[-1]
    label = jnp.broadcast_to(label.astype(image.dtype), (len(image), classes))
    return jnp.concatenate([label, flat[:, classes:]], axis=1).reshape(image.shape)


def passed(network, weights, image) -> tuple[jax.Array, ...]:
    """(the input, h_1, ..., h_{L-1})."""
    states = [image]
    for layer, params in zip(network.layers[:-1], weights['forward'][:-1], strict=True):
        states.append(layer.apply(params, unit(states[-1])))
    return tuple(states)


def goodness_of(h: jax.Array) -> jax.Array:
    """G, of each example."""
    return jnp.sum(jnp.square(h), axis=range(1, h.ndim))


def descent(h: jax.Array, sign: jax.Array) -> jax.Array:
    """The gradient by h of softplus(sign (theta - G))."""
    theta = math.prod(h.shape[1:])
    slope = -sign * jax.nn.sigmoid(sign * (theta - goodness_of(h)))
    return 2 * h * slope.reshape(-1, *[1] * (h.ndim - 1))


def wrong_label(output: jax.Array, context) -> jax.Array:
    """One-hot, drawn evenly from the other labels, for each example its own."""
    classes = output.shape[-1]
    label = jax.nn.one_hot(context.batch['label'], classes, dtype=bool)
    drawn = jnp.where(label, -jnp.inf, context.noise(0, output))
    return jax.nn.one_hot(jnp.argmax(drawn, axis=-1), classes, dtype=output.dtype)


def readouts(network) -> list:
    """A layer for each hidden layer that is read in one pass, None for the first of several."""
    top, hidden = dense(network.out_shape[0], 'linear'), network.layers[:-1]
    first = min(1, len(hidden) - 1)
    return [top(layer.out_shape) if l >= first else None for l, layer in enumerate(hidden)]


def read_out(network, weights, states):
    """The logits of one pass."""
    triples = zip(readouts(network), weights['feedback'][:-1], states[1:], strict=True)
    return sum(own.apply(params, unit(h)) for own, params, h in triples if own)


def learned(network, weights, states, context):
    """The gradient of the loss of the logits by the read-outs."""
    error = context.error(states)
    triples = zip(readouts(network), weights['feedback'][:-1], states[1:-1], strict=True)
    found = [own and own.update(params, unit(h), error, error) for own, params, h in triples]
    return (*found, None)
