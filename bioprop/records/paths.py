"""Paths as users write them: `~`, and addresses of cloud storage."""

import os
from pathlib import Path

from bioprop.errors import UserError

CLOUD = ('gs', 's3', 'az', 'hf')  # that etils.epath reads


def expanded(text: str, key: str) -> str:
    """The path with its `~` spelt out. Raises UserError, naming the key, for an unknown user."""
    path = os.path.expanduser(text)
    if path.startswith('~'):
        raise UserError(f'{key}={text}: there is no such user')
    return path


def local(text: str, key: str) -> Path:
    """A folder of a file system. Raises UserError, naming the key, for an address."""
    if '://' in text:
        raise UserError(
            f'{key}={text} is an address: runs append to files and hold locks, which takes a file '
            'system. Name a folder, on a shared disk if several machines need it, and copy it to '
            'the bucket when the run has ended'
        )
    return Path(expanded(text, key))


def readable(text: str, key: str) -> str:
    """A folder to read from, on a file system or in cloud storage.

    Raises UserError, naming the key, for another kind of address.
    """
    scheme, address, _ = text.partition('://')
    if address and scheme not in CLOUD:
        known = ', '.join(f'{each}://' for each in CLOUD)
        raise UserError(f'{key}={text}: {scheme}:// is not read; known: {known}, and folders')
    return expanded(text, key)
