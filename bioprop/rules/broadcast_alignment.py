"""Broadcast alignment (Samadi, Lillicrap and Tweed 2017), as rates.

Spiking units under fixed feedback from the output, each taught through the slope of its own rate:
direct feedback alignment of units that fire as a leaky integrate-and-fire neuron does,

    delta_l = B_l dL/dh_L,   l < L        delta_L = dL/dh_L        s(a) = 0.82 tanh(a / 0.82), a > 0

the smooth fit of their rate 0.82 tanh(0.08 j) by the current j, here in units in which the slope at
0 is 1. The paper itself was not seen: the fit is that of the reproduction in ngc-learn.
"""

from bioprop.rules.base import Rule
from bioprop.rules.direct_feedback import dfa


def broadcast_alignment() -> Rule:
    """Broadcast alignment, for activation=lif; B_l as in `dfa`."""
    return dfa()
