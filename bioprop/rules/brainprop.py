"""BrainProp (Pozzi, Bohte and Roelfsema 2020): the error of one chosen output alone.

    e_a = h_{L,a} - [a = label]  of the output a that was chosen, 0 elsewhere
    delta_L = e,    delta_{l-1} = W_l^T (s'_l * delta_l)

The largest output is chosen or, with the probability `explore`, one drawn from the softmax of all.
Summed over every choice the updates are the gradient of half the squared error. The paper learns
the feedback by the same rule, as in Kolen-Pollack; here, as in its code, it is W_l^T.
"""

import jax
import jax.numpy as jnp

from bioprop.rules.backpropagation import descend
from bioprop.rules.base import Hyperparameter, Rule, no_feedback

EXPLORE = Hyperparameter('explore', 0.02, least=0)


def brainprop() -> Rule:
    """BrainProp, for outputs that are read as they are (loss=squared_error)."""

    def signals(network, weights, states, context):
        output = states[-1]
        chosen = jax.nn.one_hot(choice(output, context), output.shape[-1], dtype=output.dtype)
        error = chosen * (output - context.loss.optimum(output, context.batch['label']))
        return descend(network, [params['kernel'] for params in weights['forward']], states, error)

    return Rule(no_feedback, signals, hparams=(EXPLORE,))


def choice(output: jax.Array, context) -> jax.Array:
    """(batch,): the largest output, or now and then one drawn from the softmax (by Gumbel)."""
    classes = output.shape[-1]
    draws = jax.scipy.stats.norm.cdf(context.noise(0, jnp.zeros((len(output), classes + 1))))
    uniform = jnp.clip(draws, 1e-7, 1 - 1e-7).astype(jnp.float32)
    gumbel = -jnp.log(-jnp.log(uniform[:, :classes])).astype(output.dtype)
    curious = uniform[:, classes] < context.hparam('explore', 1).astype(jnp.float32)
    drawn, largest = (jnp.argmax(x, axis=-1) for x in (output + gumbel, output))
    return jnp.where(curious, drawn, largest)
