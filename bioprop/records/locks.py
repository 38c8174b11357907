"""One owner at a time: the kernel's locks (flock), which end with the process that holds them.

They hold between processes of a machine, and between machines where the file system has them (NFS
from version 4).
"""

import contextlib
import datetime
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from bioprop.errors import UserError, say

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock; yields whether it was got, which it always is if it may wait.

    The file says who holds it, for people.
    """
    with path.open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}, since {_now()}\n')
        file.flush()
        yield True


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Makes the folder, and nobody else trains in it meanwhile.

    Raises UserError that names the owner if there is one. A file system without locks is said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'lock'
    with contextlib.ExitStack() as stack:
        try:
            got = stack.enter_context(locked(path, wait=False))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            say(f'{folder}: {error.strerror}. See that nobody else uses it.')
            got = True
        if not got:
            raise UserError(
                f'{folder} is in use by {path.read_text().strip()}. '
                'Wait until that ends, or use another --workdir.'
            )
        yield


def _now() -> str:
    return datetime.datetime.now().isoformat(' ', 'seconds')
