"""Two sites of synaptic integration (Koerding and Koenig 2001): Kolen-Pollack by Hebb.

A unit fires by what its basal dendrite integrates, and bursts by what its apical one does. Basal
synapses transmit the rate, apical ones the bursts of the layer above, so that both see the same
pair: W_l what comes from below and the burst that it causes, V_l the burst that it transmits and
the rate where it arrives. Each learns by the product, and

    delta_{l-1} = V_l (s'_l * delta_l),   dV_l = dW_l

is `kolen_pollack`. The paper itself was not seen; that apical synapses learn by the bursts which
they transmit is our reading of a note on it.
"""

from bioprop.rules.base import Rule
from bioprop.rules.kolen_pollack import kolen_pollack


def two_sites() -> Rule:
    """Two sites; V_l has the shape of W_l, is drawn like it and used through the transpose."""
    return kolen_pollack()
