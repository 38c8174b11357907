"""What an earlier bioprop left: it is read by today's names, and never trained on."""

from pathlib import Path
from typing import Any

from bioprop.errors import UserError

OPTIMIZER = ('lr', 'optimizer', 'beta1', 'beta2', 'eps', 'momentum', 'clip', 'weight_decay')
RENAMED = {f'inverse_{name}': f'feedback_{name}' for name in OPTIMIZER}
GONE = ('rule_options', *RENAMED)  # keys that only it had


def by_todays_names(config: dict[str, Any]) -> dict[str, Any]:
    """The settings, with the keys that they would have today.

    The loss of an autoencoder was called squared_error, which now is one of classes.
    """
    if not set(config) & set(GONE):
        return config
    renamed = {RENAMED.get(key, key): value for key, value in config.items()}
    if renamed.get('loss') == 'squared_error':
        renamed['loss'] = 'reconstruction'
    return renamed | (renamed.pop('rule_options', None) or {})


def refuse(path: Path) -> None:
    """Raises UserError if the file holds a configuration of an earlier bioprop."""
    text = path.read_text()
    if any(f'"{key}"' in text for key in GONE):
        raise UserError(
            f'{path.parent} was begun by an earlier bioprop, of other keys: finish it with '
            'that version, or begin anew in another folder'
        )
