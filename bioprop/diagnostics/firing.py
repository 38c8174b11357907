"""How much the units of a net that spikes do so."""

import jax.numpy as jnp

from bioprop.diagnostics.probe import Found, Probe


def firing(probe: Probe) -> Found:
    """The spikes a second of a unit of each hidden layer, and of all, per example."""
    if probe.rule.hertz is None:
        return {}
    rates = [probe.rule.hertz * h.reshape(len(h), -1) for h in probe.states[1:-1]]
    places = [*(f'layer_{l}' for l in probe.hidden), 'total']
    rates.append(jnp.concatenate(rates, axis=1))
    return probe.spread('spike_rate', places, jnp.stack([jnp.mean(each, axis=1) for each in rates]))
