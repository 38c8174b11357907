"""Learning rules, by name."""

import inspect

from bioprop.errors import UserError, told
from bioprop.registry import find
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Context, Rule, init_weights, no_feedback, trained_sides
from bioprop.rules.feedback_alignment import dfa, fa
from bioprop.rules.target_propagation import ao_sdtp, dtp, sdtp

RULES = {'bp': bp, 'fa': fa, 'dfa': dfa, 'dtp': dtp, 'sdtp': sdtp, 'ao_sdtp': ao_sdtp}

__all__ = [
    *RULES, 'RULES', 'Context', 'Rule', 'get', 'init_weights', 'no_feedback',
    'trained_sides',
]  # fmt: skip


def get(name: str, /, **options) -> Rule:
    """The rule of that name, made with the given options.

    A name 'module:function' finds a rule of the user's own in any importable module. Raises
    UserError for an unknown name, a module that cannot be imported, an option that the rule does
    not take, or a rule of one's own that fails.
    """
    make = find('rule', name, RULES)
    try:
        inspect.signature(make).bind(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f'rule {name!r} does not take the options {options}: {error}') from error
    try:
        rule = make(**options)
    except Exception as error:
        raise UserError(f'rule {name!r} cannot be made: {told(error)}') from error
    if not isinstance(rule, Rule):
        raise UserError(f'rule {name!r} must be a function that returns a bioprop.Rule')
    return rule
