"""Target propagation (Bengio 2014) and difference target propagation (Lee et al. 2015).

An inverse g_l maps h_l back to h_{l-1}: see `bioprop.rules.inverses`. Targets go down by

    TP   t_{l-1} = g_l(t_l)
    DTP  t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l)                             (the difference rule)

and start at h_{L-1}, or (start='logits') at h_L, so that no W is transported:

    t_{L-1} = h_{L-1} - alpha dL/dh_{L-1}        t_L = h_L - alpha dL/dh_L

A hidden layer descends scale ||h_l - t_l||^2, the top layer the task's loss. With noise
e ~ sigma N(0, 1) the inverses descend

    inverse_scale || g_l(f_l(h_{l-1} + e)) - (h_{l-1} + e) ||^2

summed over units, averaged over the batch. `inverse` is a name or (network, weights, l, y) -> x.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bioprop.errors import UserError, unknown
from bioprop.rules import inverses
from bioprop.rules.base import Hyperparameter, Rule

# Local losses are squared distances summed over units. Ranges are those of table 4.
HPARAMS = (
    Hyperparameter('scale', 1.0, least=0),
    Hyperparameter('inverse_scale', 1.0, least=0),
    Hyperparameter('sigma', None, 0.01, 0.4, least=0),
)
ALPHA = Hyperparameter('alpha', None, 0.01, 0.4, least=0)


def descend(l: int, displacement: jax.Array, step_down: Callable) -> tuple:
    """(h_1 - t_1, ..., h_l - t_l) from the last; step_down: (l, h_l - t_l) -> h_{l-1} - t_{l-1}."""
    displacements = [displacement]
    for k in range(l, 1, -1):
        displacements.append(step_down(k, displacements[-1]))
    return tuple(reversed(displacements))


def by_difference(inverse: inverses.Inverse) -> Callable:
    """The difference rule: (network, weights, states) -> the step that `descend` takes."""

    def steps(network, weights, states):
        def step_down(l, displacement):
            return inverse.difference(network, weights, l, states[l], states[l] - displacement)

        return step_down

    return steps


def swept(network, weights, states, displacements: tuple, inverse: inverses.Inverse) -> tuple:
    """Displacements after another sweep of targets, from the top down; that of the top stays.

    t_l = f_l(t_{l-1}) + g_{l+1}(t_{l+1}) - g_{l+1}(f_{l+1}(t_l)), t_0 = h_0.
    """
    targets = [h - moved for h, moved in zip(states[1:], displacements, strict=False)]
    found = [displacements[-1]]

    def reached(l):
        """f_l(t_{l-1}) by the targets of before."""
        return network.layers[l - 1].apply(weights['forward'][l - 1], targets[l - 2])

    for l in range(len(displacements) - 1, 0, -1):
        above = states[l + 1] - found[-1]
        pulled = inverse.difference(network, weights, l + 1, above, reached(l + 1))
        predicted = states[1] if l == 1 else reached(l)
        found.append(states[l] - (predicted + pulled))
    return tuple(reversed(found))


def forward_signals(displacements):
    """The signals of the local losses scale ||h_l - t_l||^2 and, at the top, of the task's loss."""

    def signals(network, weights, states, context):
        hidden = [
            2 * context.hparam('scale', l) * displacement
            for l, displacement in enumerate(
                displacements(network, weights, states, context), start=1
            )
        ]
        return (*hidden, context.error(states))

    return signals


def reconstruct(network, weights, states, context, l, inverse):
    """(h_{l-1} + e, g_l of f_l of it): a noisy state, and what comes back of it."""
    h = states[l - 1]
    noisy = h + context.hparam('sigma', l) * context.noise(l, h)
    up = network.layers[l - 1].apply(weights['forward'][l - 1], noisy)
    return noisy, inverse(network, weights, context, l, noisy, up)


def squared_distance(x, y):
    """||x - y||^2, summed over units and averaged over the batch."""
    return jnp.sum(jnp.square(x - y)) / len(x)


def dtp(start: str = 'penultimate', inverse: str | Callable = 'after', sweeps: int = 1) -> Rule:
    """Difference target propagation; the first target takes one gradient step of alpha.

    With several sweeps (iterated targets, Bengio et al. 2015; their equation as remembered) targets
    hear of the layers below, too: see `swept`. Where f_{l+1} already reaches the target above, the
    next sweep takes the move back: with exact inverses it comes and goes. Raises UserError for
    another option.
    """
    g = inverses.named(inverse)
    if sweeps < 1:
        raise UserError(f'sweeps must be at least 1, not {sweeps}')

    def again(network, weights, states, found):
        for _ in range(sweeps - 1):
            found = swept(network, weights, states, found, g)
        return found

    return _learning_to_reconstruct(g, *started(start, by_difference(g), again))


def target_propagation(start: str = 'penultimate', inverse: str | Callable = 'after') -> Rule:
    """Vanilla target propagation: a target is what the inverse makes of the one above.

    The inverses learn as in DTP. Raises UserError for another option.
    """
    g = inverses.named(inverse)

    def steps(network, weights, states):
        return lambda l, moved: states[l - 1] - g.apply(network, weights, l, states[l] - moved)

    return _learning_to_reconstruct(g, *started(start, steps))


def _learning_to_reconstruct(g: inverses.Inverse, top: Callable, displacements: Callable) -> Rule:
    def init(key, network, forward):
        return inverses.init_inverses(key, network, top(network)), ()

    def inverse_of_state(network, weights, context, l, x, h):
        return g.apply(network, weights, l, h)

    def feedback_loss(network, weights, states, context):
        loss = 0.0
        for l in range(2, top(network) + 1):
            noisy, back = reconstruct(network, weights, states, context, l, inverse_of_state)
            loss += context.hparam('inverse_scale', l) * squared_distance(back, noisy)
        return loss

    return Rule(
        init, forward_signals(displacements), feedback_loss, hparams=(*HPARAMS, ALPHA),
        displacements=displacements, inverse=inverse_of_state,
        feedback_kernels=inverses.inverse_kernels,
    )  # fmt: skip


def penultimate_step(network, weights, states, context):
    """alpha dL/dh_{L-1}."""
    layer, kernel = network.layers[-1], weights['forward'][-1]['kernel']
    gradient = layer.transpose(kernel, layer.slope(states[-1]) * context.error(states))
    return context.hparam('alpha', len(network.layers)) * gradient


def logit_step(network, weights, states, context):
    """alpha dL/dh_L."""
    return context.hparam('alpha', len(network.layers)) * context.error(states)


STARTS = {'penultimate': penultimate_step, 'logits': logit_step}


def started(
    start: str, steps: Callable, again: Callable | None = None
) -> tuple[Callable, Callable]:
    """(network -> the layer that targets start at, the highest with an inverse; displacements).

    steps: (network, weights, states) -> the step that `descend` takes; again: (network, weights,
    states, displacements up to that layer) -> others. Raises UserError for another start.
    """
    if start not in STARTS:
        raise unknown('start', start, STARTS)

    def top(network):
        return len(network.layers) - (start == 'penultimate')

    def displacements(network, weights, states, context):
        first = STARTS[start](network, weights, states, context)
        found = descend(top(network), first, steps(network, weights, states))
        found = again(network, weights, states, found) if again else found
        return found[: len(network.layers) - 1]

    return top, displacements
