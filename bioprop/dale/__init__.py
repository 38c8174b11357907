"""Dale's law: all that a unit sends out has one sign."""

from bioprop.dale.parisien import View, view
from bioprop.dale.signs import NON_NEGATIVE, Constraint, constrained, constraint, signs_of

__all__ = ['NON_NEGATIVE', 'Constraint', 'View', 'constrained', 'constraint', 'signs_of', 'view']
