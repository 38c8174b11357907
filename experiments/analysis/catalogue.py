"""What a rule is called, and its place among the others."""

from bioprop.rules import RULES


def label(rule: str) -> str:
    """In words; of a rule of the user's own the name of its function."""
    module, _, function = rule.rpartition(':')
    return function if module else function.upper().replace('_', '-')


def place(rule: str) -> int:
    """In tables and figures; rules of the user's own come last."""
    return [*RULES, rule].index(rule)
