"""Looking inside: what a rule does to a network, measured on one batch.

    found = diagnostics.measure(
        ('update', 'signal'), network, rule, loss, weights, batch, key, hparams
    )

Every diagnostic is a pure function of a `Probe`, for any rule, and gives numbers by name:
'update_angle/kernel/layer_2', '.../total' over the layers, and '.../spread', the standard deviation
over the batch, beside each mean over examples. What a rule has not got (targets, inverses) is not
there. Layers are numbered as in the papers, 1..L. Angles are in degrees, shares between 0 and 1.
"""

from collections.abc import Callable, Iterable

import jax

from bioprop.diagnostics.alignment import alignment, jacobian
from bioprop.diagnostics.descent import descent
from bioprop.diagnostics.diversity import diversity
from bioprop.diagnostics.firing import firing
from bioprop.diagnostics.gauss_newton import gauss_newton
from bioprop.diagnostics.probe import Found, Probe
from bioprop.diagnostics.reconstruction import reconstruction
from bioprop.diagnostics.residual import residual
from bioprop.diagnostics.saturation import saturation
from bioprop.diagnostics.signal import signal
from bioprop.diagnostics.update import examples, update
from bioprop.errors import unknown
from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.rules.base import Rule, Weights

DIAGNOSTICS: dict[str, Callable[[Probe], Found]] = {
    'update': update,
    'signal': signal,
    'alignment': alignment,
    'reconstruction': reconstruction,
    'diversity': diversity,
    'saturation': saturation,
    'residual': residual,
    'firing': firing,
    'examples': examples,
    'jacobian': jacobian,
    'descent': descent,
    'gauss_newton': gauss_newton,
}
CHEAP = tuple(DIAGNOSTICS)[:8]  # together they cost about two training steps
GROUPS = {'cheap': CHEAP, 'all': tuple(DIAGNOSTICS)}

__all__ = ['CHEAP', 'DIAGNOSTICS', 'GROUPS', 'Probe', 'measure', 'named']


def named(text: str) -> tuple[str, ...]:
    """The names in 'update,signal'; 'cheap' and 'all' stand for several, '' for none.

    Raises UserError for one that does not exist.
    """
    found = {}
    for name in filter(None, text.replace(' ', '').split(',')):
        if name not in GROUPS and name not in DIAGNOSTICS:
            raise unknown('diagnostic', name, (*DIAGNOSTICS, *GROUPS))
        found |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(found)


def measure(
    names: Iterable[str],
    network: Network,
    rule: Rule,
    loss: Loss,
    weights: Weights,
    batch: dict[str, jax.Array],
    key: jax.Array,
    hparams: dict[str, jax.Array],
    axis_name: str | None = None,
) -> Found:
    """The numbers of these diagnostics, by name; each a scalar.

    The arguments are those of `bioprop.objective`. With an axis_name the batch is this device's
    share, and the numbers are those of the whole batch.
    """
    probe = Probe(network, rule, loss, weights, batch, key, hparams, axis_name)
    return {name: value for each in names for name, value in DIAGNOSTICS[each](probe).items()}
