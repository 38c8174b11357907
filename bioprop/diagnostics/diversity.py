"""How much targets differ from one another."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe


def diversity(probe: Probe) -> Found:
    """Effective ranks, over the batch, of what a rule asks for.

    'displacement_rank/layer_l' is that of h_l - t_l. At the penultimate layer, after the mean over
    the examples of a class is taken off: 'target_rank' and 'state_rank' are those of t_{L-1} and
    h_{L-1}, 'target_within' and 'state_within' the share of their variance that lies within
    classes. Bartunov et al. 2018 explain SDTP's failure by targets that are alike within a class.
    Reconstructions have no classes: there all examples are of one.
    """
    if not probe.displacements:
        return {}
    displacements = [probe.whole(_flat(each)) for each in probe.displacements]
    found = {
        f'displacement_rank/layer_{l}': effective_rank(each)
        for l, each in enumerate(displacements, start=1)
    }
    states = probe.whole(_flat(probe.states[-2]))
    labels = probe.whole(probe.context.batch['label'])
    labels = jnp.zeros(len(labels), int) if labels.ndim > 1 else labels
    for name, x in (('target', states - displacements[-1]), ('state', states)):
        within = off_class_means(x, labels, probe.network.out_shape[0])
        total = x - jnp.mean(x, axis=0)[None]
        found[f'{name}_rank'] = effective_rank(within)
        found[f'{name}_within'] = jnp.vdot(within, within) / jnp.vdot(total, total)
    return found


def effective_rank(x: jax.Array) -> jax.Array:
    """(sum of s^2)^2 / (sum of s^4) for the singular values s of x (examples, units).

    The participation ratio: n for n of equal size, 1 for a matrix of rank one, 0 for zeros.
    """
    x = x / jnp.maximum(jnp.max(jnp.abs(x)), jnp.finfo(x.dtype).tiny)
    gram = x @ x.T
    total, fourth = jnp.square(jnp.trace(gram)), jnp.vdot(gram, gram)
    return jnp.where(fourth > 0, total / jnp.where(fourth > 0, fourth, 1), 0)


def off_class_means(x: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
    """x (examples, units) less the mean over the examples of the same class."""
    members = jax.nn.one_hot(labels, classes, dtype=x.dtype)
    counts = jnp.maximum(jnp.sum(members, axis=0), 1)
    return x - members @ ((members.T @ x) / counts[:, None])


def _flat(x):
    return x.reshape(len(x), -1)
