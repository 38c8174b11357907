"""bioprop: a benchmark of biologically motivated learning rules in JAX."""

from bioprop.networks import Network, feedforward, network
from bioprop.objective import objective
from bioprop.rules import Context, Hyperparameter, Rule, init_weights

__all__ = [
    'Context',
    'Hyperparameter',
    'Network',
    'Rule',
    'feedforward',
    'init_weights',
    'network',
    'objective',
]
