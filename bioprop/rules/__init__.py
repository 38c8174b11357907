"""Learning rules, by name."""

import inspect
from typing import Any

from bioprop.errors import UserError, told
from bioprop.registry import find
from bioprop.rules.base import (
    Context,
    Hyperparameter,
    Rule,
    infer,
    init_weights,
    no_feedback,
    trained_sides,
)
from bioprop.rules.catalogue import CATALOGUE, Entry, label

RULES = {name: entry.make for name, entry in CATALOGUE.items()}
globals().update(RULES)  # rules.dtp()
PLAIN = (bool, int, float, str, tuple, type(None))  # what a configuration can hold

__all__ = [
    *RULES, 'CATALOGUE', 'RULES', 'Context', 'Entry', 'Hyperparameter', 'Rule', 'entry', 'get',
    'infer', 'init_weights', 'no_feedback', 'options', 'trained_sides',
]  # fmt: skip


def entry(name: str) -> Entry:
    """That of the catalogue; a rule of the user's own has the name of its function for a label.

    Raises UserError as `get` does for a name.
    """
    make = find('rule', name, RULES)
    return CATALOGUE.get(name) or Entry(make, label(name), 'own', ())


def options(name: str) -> dict[str, Any]:
    """The options of a rule that a configuration can hold, with their defaults.

    One that must be given has the default None. Raises UserError as `get` does for a name.
    """
    parameters = _parameters(find('rule', name, RULES))
    defaults = {
        each.name: None if each.default is each.empty else each.default
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    return {key: default for key, default in defaults.items() if isinstance(default, PLAIN)}


def _parameters(make) -> tuple[inspect.Parameter, ...]:
    try:
        return tuple(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # it is made of no Python function
        return ()


def get(name: str, /, **options) -> Rule:
    """The rule of that name, made with the given options.

    A name 'module:function' finds a rule of the user's own in any importable module. Raises
    UserError for an unknown name, a module that cannot be imported, an option that the rule does
    not take, or a rule of one's own that fails or keeps no contract.
    """
    make = find('rule', name, RULES)
    try:
        inspect.signature(make).bind(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f'rule {name!r} does not take the options {options}: {error}') from error
    try:
        rule = make(**options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'rule {name!r} cannot be made: {told(error)}') from error
    if not isinstance(rule, Rule):
        raise UserError(f'rule {name!r} must be a function that returns a bioprop.Rule')
    if not all(isinstance(each, Hyperparameter) for each in rule.hparams):
        raise UserError(
            f'rule {name!r}: hparams must be a tuple of bioprop.Hyperparameter(NAME, DEFAULT), '
            f'not {rule.hparams!r}'
        )
    return rule
