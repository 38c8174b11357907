"""Whether a net that relaxes has come to rest."""

import jax
import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe


def residual(probe: Probe) -> Found:
    """The largest change of a state by one sweep more, of every phase of the rule, per example."""
    if not probe.rule.phases:
        return {}
    phases = probe.rule.phases(probe.network, probe.weights, probe.states, probe.context)
    changes = [_change(*each) for each in phases.values()]
    return probe.spread('residual', list(phases), jnp.stack(changes)) if changes else {}


def _change(before, after) -> jax.Array:
    """Over all states of an example: (batch,)."""
    return jnp.max(jnp.stack(jax.tree.leaves(jax.tree.map(_largest, before, after))), axis=0)


def _largest(before: jax.Array, after: jax.Array) -> jax.Array:
    """(batch, ...) twice -> (batch,)."""
    return jnp.max(jnp.abs(after - before), axis=range(1, before.ndim))
