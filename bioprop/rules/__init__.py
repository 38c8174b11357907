"""Learning rules, by name."""

import inspect

from bioprop.errors import UserError
from bioprop.registry import find
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Context, Rule, init_weights, no_feedback
from bioprop.rules.feedback_alignment import dfa, fa
from bioprop.rules.target_propagation import ao_sdtp, dtp, sdtp

RULES = {'bp': bp, 'fa': fa, 'dfa': dfa, 'dtp': dtp, 'sdtp': sdtp, 'ao_sdtp': ao_sdtp}

__all__ = [
    *RULES, 'RULES', 'Context', 'Rule', 'get', 'init_weights', 'no_feedback',
]  # fmt: skip


def get(name: str, **options) -> Rule:
    """The rule of that name, made with the given options.

    A name 'module:function' finds a rule of the user's own in any importable module. Raises
    UserError for an unknown name, a module that cannot be imported, or an option that the rule
    does not take.
    """
    make = find('rule', name, RULES)
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise UserError(f'rule {name!r} does not take the options {options}: {error}') from error
    rule = make(**options)
    if not isinstance(rule, Rule):
        raise UserError(f'rule {name!r} must be a function that returns a bioprop.Rule')
    return rule
