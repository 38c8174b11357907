"""What a configuration names: one of ours, or a function of the user's own."""

import importlib
from collections.abc import Callable, Mapping

from bioprop.errors import UserError, told, unknown


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
    parts = (*module.split('.'), function)
    if module.endswith('.py') or not all(part.isidentifier() for part in parts):
        raise UserError(
            f"{kind} {name!r} is not 'module:function': my_file:{kind} is the function {kind} of "
            'my_file.py, in the folder that the command is run from'
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:
        raise UserError(f'{kind} {name!r} cannot be loaded: {told(error)}') from error
    if not callable(found):
        raise UserError(f'{kind} {name!r} must be a function, not {found!r}')
    return found
