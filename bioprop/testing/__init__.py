"""Checks of a rule or a layer of your own: `check_rule` and `check_layer` raise `Fault`.

They need nothing but the package, and change none of JAX's settings.
"""

from bioprop.testing.faults import Fault
from bioprop.testing.layer import check_layer
from bioprop.testing.problem import Problem
from bioprop.testing.rule import check_rule

__all__ = ['Fault', 'Problem', 'check_layer', 'check_rule']
