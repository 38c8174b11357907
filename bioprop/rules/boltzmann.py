"""The Boltzmann machine (Ackley, Hinton and Sejnowski 1985), its input clamped in both phases.

Hidden units are spins of -1 and 1, whose means are tanh, and the labels one softmax unit o:

    P(h, o | x) ~ exp(sum_l <h_l, a_l(h_{l-1})>),   h_L = o
    dW_l = <h_l h_{l-1}> free - <h_l h_{l-1}> with o clamped, the gradient of -log P(label | x)

With one hidden layer both phases are exact sums over the labels (the discriminative RBM of
Larochelle and Bengio 2008), U_k = T_2(W_2, the label k):

    logit_k = b_k + sum_j log 2 cosh(a_j + U_jk)        m_k = tanh(a + U_k)
    dW_1 = (sum_k w_k m_k) h_0,   dW_2 = sum_k w_k k m_k,   w = softmax(logits) - the label

Deeper machines are taken in mean field: contrastive Hebbian learning with gamma = 1, which settles
for small weights alone. With gibbs sweeps the two phases of any machine are sampled
(`bioprop.rules.gibbs`), as in 1985, but for its annealing and its noisy clamps.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.base import Rule, no_feedback
from bioprop.rules.contrastive_hebbian import contrastive_hebbian
from bioprop.rules.gibbs import correlations_apart


def boltzmann(gibbs: int = 0, free_steps: int = 20, clamped_steps: int = 12) -> Rule:
    """The Boltzmann machine, for activation=tanh; steps are sweeps of deeper machines.

    gibbs is the number of sweeps by which both phases are sampled, where they are.
    """
    mean_field = contrastive_hebbian('chl', 'softmax', free_steps, clamped_steps)

    def at_full_strength(context):
        one = jnp.ones((), context.batch['image'].dtype)
        return context._replace(hparams=dict(context.hparams) | {'gamma': one})

    def infer(network, weights, context):
        if len(network.layers) != 2:
            return mean_field.infer(network, weights, at_full_strength(context))
        image = context.batch['image']
        hidden, field = fields(network, weights, image)
        logits = weights['forward'][1]['bias'][None] + _log_two_cosh(field)
        return image, network.layers[0].activation(hidden), logits

    def updates(network, weights, states, context):
        if gibbs:
            found = correlations_apart(network, weights['forward'], states, context, gibbs)
            return {'forward': found, 'feedback': ()}
        if len(network.layers) != 2:
            return mean_field.updates(network, weights, states, at_full_strength(context))
        (below, top), (first, second) = network.layers, weights['forward']
        error = context.error(states)
        batch, classes = error.shape
        m = jnp.tanh(fields(network, weights, states[0])[1])
        lower = below.correlation(first, states[0], jnp.einsum('bk,bk...->b...', error, m))
        each = (error[..., None] * jnp.eye(classes, dtype=error.dtype)[None]).reshape(-1, classes)
        upper = top.correlation(second, m.reshape(batch * classes, *m.shape[2:]), each)
        upper = jax.tree.map(lambda update: classes * update, upper)
        return {'forward': (lower, upper), 'feedback': ()}

    def phases(network, weights, states, context):
        if len(network.layers) == 2:
            return {}  # exact
        return mean_field.phases(network, weights, states, at_full_strength(context))

    return Rule(no_feedback, updates=updates, infer=infer, phases=phases)


def fields(network, weights, image):
    """(a, a + U_k for every label k): (batch, *hidden) and (batch, labels, *hidden)."""
    (below, top), (first, second) = network.layers, weights['forward']
    a = below.potential(first, image)
    labels = jnp.eye(top.out_shape[0], dtype=a.dtype)
    return a, a[:, None] + top.transpose(second['kernel'], labels)[None]


def _log_two_cosh(field):
    """sum_j log 2 cosh(field), over all axes behind batch and labels."""
    size = jnp.abs(field)
    return jnp.sum(size + jnp.log1p(jnp.exp(-2 * size)), axis=range(2, field.ndim))
