"""What a configuration names: one of ours, or a function of the user's own."""

import importlib
from collections.abc import Callable, Mapping

from bioprop.errors import UserError, unknown


def find(kind: str, name: str, known: Mapping[str, Callable | None]) -> Callable | None:
    """known[name]; a name 'module:function' finds that function in any importable module.

    kind says what is looked for. Raises UserError for an unknown name, a module that cannot be
    imported, and what is no function of it.
    """
    module, _, function = name.rpartition(':')
    if not module:
        if name not in known:
            raise unknown(kind, name, known)
        return known[name]
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f'{kind} {name!r} cannot be loaded: {error}') from error
    if not callable(found):
        raise UserError(f'{kind} {name!r} must be a function, not {found!r}')
    return found
