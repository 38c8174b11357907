"""Rules whose feedback must take the very steps of the weights: what their settings have to be.

Only then does it come to be the weights; each side has an optimiser of its own in a configuration.
"""

from typing import Any

from bioprop.errors import UserError
from bioprop.settings.keys import DEFAULTS, OPTIONS

STEPS = ('optimizer', 'lr', *OPTIONS, 'weight_decay', 'decay')
LEFT = (
    'schedule', 'clip', 'feedback_clip', 'feedback_steps', 'feedback_passes',
    'feedback_pretraining',
)  # fmt: skip
TIMES = 5  # of 1 / (lr * weight_decay) steps, in which feedback comes to lie along the weights


def tie(resolved: dict[str, Any]) -> None:
    """Gives the feedback's optimiser the settings of the forward one, where it has none.

    Raises UserError for what would tear them apart: other settings, turns of their own, and clips,
    which are each by the norm of their side.
    """
    told = f'the feedback of rule {resolved["rule"]!r} must take the steps of the weights'
    for name in LEFT:
        if resolved[name] != DEFAULTS[name]:
            raise UserError(f'{told}: leave {name} at {DEFAULTS[name]!r}')
    for name in STEPS:
        side = f'feedback_{name}'
        if resolved[side] == DEFAULTS[side]:
            resolved[side] = resolved[name]
        elif resolved[side] != resolved[name]:
            raise UserError(f'{told}: {side} is {resolved[side]!r}, {name} {resolved[name]!r}')


def too_short(resolved: dict[str, Any], steps: int) -> str | None:
    """What to say of a run in whose steps the feedback hardly comes to lie along the weights."""
    rate, decay = resolved['lr'], resolved['weight_decay'] or 0
    if isinstance(rate, tuple) or rate * decay * steps >= TIMES:
        return None
    times = f'{rate * decay * steps:.2g}'
    return f'feedback hardly aligns: lr x weight_decay x steps is {times}, {TIMES} would do'
