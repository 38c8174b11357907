"""bioprop: a benchmark of biologically motivated learning rules in JAX."""

from typing import Any

from bioprop.networks import Network, feedforward, network
from bioprop.objective import objective
from bioprop.rules import Context, Hyperparameter, Rule, init_weights

__all__ = [
    'Context', 'Hyperparameter', 'Network', 'Rule', 'feedforward', 'init_weights', 'network',
    'objective',
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`open_run` of `bioprop.running.opened`, which imports what training needs, when asked for."""
    if name == 'open_run':
        from bioprop.running.opened import open_run

        return open_run
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
