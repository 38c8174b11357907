"""The one idea: a scalar objective whose `jax.grad` is the learning rule's update.

`jax.custom_vjp` wraps the scalar mean loss, not the logits, so that the backward pass knows the
batch, the labels and the per-example error at the output. Everything outside (optax, pmean,
clipping, vmap over seeds, checkpoints) treats every rule like an ordinary gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.rules.base import Context, Rule, forward_updates, infer


def objective(network: Network, rule: Rule, loss: Loss) -> Callable:
    """The mean loss of a batch, differentiated by the rule.

        f = objective(network, rule, loss)
        (value, aux), updates = jax.value_and_grad(f, has_aux=True)(weights, batch, key, hparams)

    weights, batch, key and hparams are those of `rules.base`. aux is {'logits': (batch, outputs)}
    and, for a rule that has one, the scalar 'feedback_loss'; it has no gradient. Updates are those
    of the forward and feedback weights; fixed weights, batch and hparams get zero. Keys among the
    fixed weights ask for allow_int=True, or for the gradient by the other sides alone.
    """

    def forward(weights, batch, key, hparams):
        context = Context(loss, batch, key, hparams)
        states = infer(network, rule, weights, context)
        value = jnp.mean(loss.value(states[-1], batch['label']))
        updates, feedback_loss = _updates(network, rule, weights, states, context)
        return (value, {'logits': states[-1]} | feedback_loss), updates

    def backward(updates, cotangents):
        scaled = jax.tree.map(lambda update: cotangents[0].astype(update.dtype) * update, updates)
        return scaled | {'fixed': None}, None, None, None

    @jax.custom_vjp
    def mean_loss(weights, batch, key, hparams):
        return forward(weights, batch, key, hparams)[0]

    mean_loss.defvjp(forward, backward)
    return mean_loss


def _updates(network, rule, weights, states, context):
    """({'forward', 'feedback'}, {'feedback_loss'} or {}) by the rule's own functions."""
    if rule.updates:
        return rule.updates(network, weights, states, context), {}
    deltas = rule.signals(network, weights, states, context)
    forward = forward_updates(network, weights['forward'], states, deltas)
    if not rule.feedback_loss:
        zeros = jax.tree.map(jnp.zeros_like, weights['feedback'])
        return {'forward': forward, 'feedback': zeros}, {}

    def feedback_loss(feedback):
        return rule.feedback_loss(network, weights | {'feedback': feedback}, states, context)

    value, feedback = jax.value_and_grad(feedback_loss)(weights['feedback'])
    return {'forward': forward, 'feedback': feedback}, {'feedback_loss': value}
