"""Contrastive Hebbian learning (Movellan 1991, Xie and Seung 2003), and GeneRec (O'Reilly 1996).

The net relaxes freely and is read there. With the output clamped to what it should be it relaxes
again, from the free states, and the update is gamma^(l-L) times what the two phases differ by
(`bioprop.rules.hebbian`). As gamma goes to 0 it is backpropagation.

    clamp='softmax'  the top sends down the output o(h_L), clamped: the label
    clamp='linear'   it sends its logits, clamped: h_L - dL/dh_L of the free phase

form='plain', 'midpoint' and 'symmetric' are GeneRec's. The feedback of random_contrastive_hebbian
is fixed and random (Detorakis, Bartley and Neftci 2019), here in both phases, so that an output
that is right changes nothing; the equations of that paper were not seen.
"""

from collections.abc import Callable

from bioprop.errors import unknown
from bioprop.rules.base import Rule, no_feedback
from bioprop.rules.hebbian import FORMS, contrast
from bioprop.rules.kernel_feedback import init_fixed_feedback
from bioprop.rules.relaxation import GAMMA, end_of, free_phase, sweeps

CLAMPS = ('softmax', 'linear')


def contrastive_hebbian(
    form: str = 'chl', clamp: str = 'softmax', free_steps: int = 20, clamped_steps: int = 12
) -> Rule:
    """Contrastive Hebbian learning; steps are sweeps. Raises UserError for another option."""

    def forward_kernels(weights):
        return tuple(params['kernel'] for params in weights['forward'])

    return _contrastive(form, clamp, free_steps, clamped_steps, no_feedback, forward_kernels)


def random_contrastive_hebbian(
    form: str = 'chl', clamp: str = 'softmax', free_steps: int = 20, clamped_steps: int = 12
) -> Rule:
    """The same with fixed feedback B_l, drawn like W_l. Raises UserError for another option."""

    def fixed_kernels(weights):
        return tuple(own and own['kernel'] for own in weights['fixed'])

    return _contrastive(form, clamp, free_steps, clamped_steps, init_fixed_feedback, fixed_kernels)


def _contrastive(form, clamp, free_steps, clamped_steps, init, kernels_of: Callable) -> Rule:
    """kernels_of: weights -> what goes down in the place of W_l."""
    if form not in FORMS:
        raise unknown('form', form, FORMS)
    if clamp not in CLAMPS:
        raise unknown('clamp', clamp, CLAMPS)

    def sent(context):
        """h_L -> what the top sends down in the free phase."""
        return context.loss.output if clamp == 'softmax' else lambda h: h

    def freely(weights, context):
        return {'emit': sent(context), 'kernels': kernels_of(weights)}

    def clamped(weights, states, context):
        if clamp == 'softmax':
            right = context.loss.optimum(states[-1], context.batch['label'])
        else:
            right = states[-1] - context.error(states)
        return {'settle': lambda a, h: right, 'kernels': kernels_of(weights)}

    def infer(network, weights, context):
        return free_phase(network, weights, context, free_steps, **freely(weights, context))

    def updates(network, weights, states, context):
        how, gamma = clamped(weights, states, context), context.hparam('gamma', len(network.layers))
        taught = sweeps(network, weights, states, context, clamped_steps, **how)
        free = (*states[:-1], sent(context)(states[-1]))
        forward = contrast(network, weights['forward'], free, taught, gamma, form=form)
        return {'forward': forward, 'feedback': ()}

    def phases(network, weights, states, context):
        start, how = (network, weights, states, context), clamped(weights, states, context)
        return {
            'free': end_of(*start, 0, **freely(weights, context)),
            'taught': end_of(*start, clamped_steps, **how),
        }

    return Rule(init, updates=updates, infer=infer, phases=phases, hparams=(GAMMA,))
