"""Checks of a rule or a layer of your own: `check_rule` and `check_layer` raise `Fault`.

`limit` and `order_of` are for identities that hold as a number tends to zero.

They need nothing but the package, and change none of JAX's settings.
"""

from bioprop.testing.faults import Fault
from bioprop.testing.layer import check_layer
from bioprop.testing.limits import limit, order_of
from bioprop.testing.problem import Problem
from bioprop.testing.rule import check_rule

__all__ = ['Fault', 'Problem', 'check_layer', 'check_rule', 'limit', 'order_of']
