"""Broadcast alignment (Samadi, Lillicrap and Tweed 2017).

Spiking units under fixed feedback from the output, each taught through the slope of its own rate:
direct feedback alignment of units that fire as a leaky integrate-and-fire neuron does,

    delta_l = B_l dL/dh_L,   l < L        delta_L = dL/dh_L        s(a) = 0.82 tanh(a / 0.82), a > 0

the smooth fit of their rate 0.82 tanh(0.08 j) by the current j, here in units in which the slope at
0 is 1. With spiking=True the states are the mean outputs of such units over time
(`bioprop.rules.integrate_and_fire`), with the slope of that fit, under a linear read-out; weights
move once, by the means, where the paper's move in every step. The paper itself was not seen: the
fit is that of the reproduction in ngc-learn.
"""

from bioprop.errors import UserError
from bioprop.rules.base import Rule, forward_updates
from bioprop.rules.direct_feedback import dfa
from bioprop.rules.integrate_and_fire import HERTZ, rates


def broadcast_alignment(spiking: bool = False, steps: int = 100, settle: int = 20) -> Rule:
    """Broadcast alignment, for activation=lif; B_l as in `dfa`; steps are of 0.25 ms.

    Raises UserError for a time that ends before it has settled.
    """
    if not 0 <= settle < steps:
        raise UserError(f'settle must be at least 0 and below steps = {steps}, not {settle}')
    rule = dfa()
    if not spiking:
        return rule

    def infer(network, weights, context):
        image, forward = context.batch['image'], weights['forward']
        hidden = rates(network, forward, image, steps, settle)
        return image, *hidden, network.layers[-1].apply(forward[-1], (image, *hidden)[-1])

    def updates(network, weights, states, context):
        deltas = rule.signals(network, weights, states, context)
        return {
            'forward': forward_updates(network, weights['forward'], states, deltas),
            'feedback': (),
        }

    return Rule(rule.init, updates=updates, infer=infer, hparams=rule.hparams, hertz=HERTZ)
