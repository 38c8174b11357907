"""Hidden units that compete for what they stand for, under a read-out that learns beside them.

For u = W_l h_{l-1} and y = softmax(temperature u) over the units (of a place, in local layers):

    soft_hebb    dW_l = - y (h_{l-1} - u W_l)     Journe et al. 2023: Oja's rule by soft winners
    competitive  dW_l = - y (h_{l-1} - W_l)       Grossberg 1987: winners move to what they won,
                 and keep their norm, so that the largest u is that of the nearest W

No label reaches a hidden layer; the top descends the task's loss. Biases of hidden layers stay 0.
A unit's weights start positive and of norm 2, and hidden layers learn `hidden_rate` times as fast.
Under soft_hebb w.dw = - y u (1 - |w|^2): norms settle at 1. Inputs are in [0, 1]; with negative
ones, or tanh units and Glorot's start, it is worse than `shallow`.
"""

import jax
import jax.numpy as jnp
import optax

from bioprop.layers.base import input_axes
from bioprop.rules.base import Hyperparameter, Rule, no_feedback
from bioprop.rules.transforms import of_hidden

NORM = 2.0
TEMPERATURE = Hyperparameter('temperature', 12.0, 1.0, 100.0, log=True, least=0)
HIDDEN_RATE = Hyperparameter('hidden_rate', 3.0, 0.3, 30.0, log=True, least=0)


def soft_hebb() -> Rule:
    """SoftHebb, for activation=softmax or triangle; softer or harder winners by temperature."""
    return _competing(lambda u, y: y * u)


def competitive() -> Rule:
    """Competitive learning, for activation=softmax or triangle, by soft winners: hard ones, of a
    high temperature, leave most units nothing to win.
    """
    rule = _competing(lambda u, y: y)
    return rule._replace(transforms=(*rule.transforms, ('forward', lambda hparams: on_sphere())))


def _competing(decay) -> Rule:
    """decay: (u, y) -> how much of its weights a unit loses."""

    def hidden_update(layer, params, x, l, context):
        u = layer.linear(params['kernel'], x)
        y = jax.nn.softmax(context.hparam('temperature', l) * u, axis=-1)
        gained = layer.correlation(params, x, y)['kernel']
        lost = layer.correlation(params, x, decay(u, y))['bias']
        kernel = jnp.expand_dims(lost, input_axes(params)) * params['kernel'] - gained
        return {'kernel': kernel, 'bias': jnp.zeros_like(params['bias'])}

    def updates(network, weights, states, context):
        *hidden, top = zip(network.layers, weights['forward'], states[:-1], strict=True)
        layer, params, x = top
        forward = (
            *(hidden_update(*each, l, context) for l, each in enumerate(hidden, start=1)),
            layer.update(params, x, states[-1], context.error(states)),
        )
        return {'forward': forward, 'feedback': ()}

    def start(weights):
        hidden = [own | {'kernel': _positive(own)} for own in weights['forward'][:-1]]
        return weights | {'forward': (*hidden, weights['forward'][-1])}

    return Rule(
        no_feedback, updates=updates, hparams=(TEMPERATURE, HIDDEN_RATE), start=start,
        transforms=(('forward', lambda hparams: of_hidden(hparams['hidden_rate'])),),
    )  # fmt: skip


def on_sphere() -> optax.GradientTransformation:
    """Steps after which the weights of every hidden unit have the norm that they had."""

    def kept(params, steps):
        kernel, axes = params['kernel'], input_axes(params)
        moved = kernel + steps['kernel']
        return steps | {'kernel': moved * (_norm(kernel, axes) / _norm(moved, axes)) - kernel}

    def update(steps, params):
        *hidden, top = zip(params, steps, strict=True)
        return (*(kept(*each) for each in hidden), top[1])

    return optax.stateless(update)


def _positive(params):
    """The kernel made positive, with NORM for each unit."""
    size = jnp.abs(params['kernel'])
    return NORM * size / _norm(size, input_axes(params))


def _norm(kernel, axes):
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=axes, keepdims=True))
