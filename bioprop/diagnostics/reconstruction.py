"""How well inverses invert."""

import jax.numpy as jnp

from bioprop.diagnostics.comparison import squares
from bioprop.diagnostics.probe import Found, Probe


def reconstruction(probe: Probe) -> Found:
    """||g_l(f_l(x)) - x||^2 / ||x||^2 of every inverse, per example.

    'clean' at x = h_{l-1}, 'noisy' at x = h_{l-1} + e, with the rule's own noise (sigma, and none
    for a rule that has no sigma). 'total' divides the sums over the layers.
    """
    if not inverted(probe):
        return {}
    found = {}
    for kind in ('clean', 'noisy'):
        misses, sizes = {}, {}
        for l in inverted(probe):
            x = probe.states[l - 1]
            if kind == 'noisy' and 'sigma' in probe.context.hparams:
                x = x + probe.context.hparam('sigma', l) * probe.context.noise(l, x)
            up = probe.network.layers[l - 1].apply(probe.weights['forward'][l - 1], x)
            misses[f'layer_{l}'] = squares(there_and_back(probe, l, x, up) - x)
            sizes[f'layer_{l}'] = squares(x)
        misses['total'], sizes['total'] = sum(misses.values()), sum(sizes.values())
        shares = jnp.stack([miss / sizes[place] for place, miss in misses.items()])
        found |= probe.spread(f'reconstruction/{kind}', list(misses), shares)
    return found


def inverted(probe: Probe) -> list[int]:
    """The l whose g_l the rule has."""
    if not probe.rule.inverse:
        return []
    return [l for l, params in enumerate(probe.weights['feedback'], start=1) if params is not None]


def there_and_back(probe: Probe, l: int, x, h):
    """g_l(h) of a state h = f_l(x)."""
    return probe.rule.inverse(probe.network, probe.weights, probe.context, l, x, h)
