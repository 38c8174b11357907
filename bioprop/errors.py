"""What a user did wrong, said in one message."""

import difflib
import os
import sys
from collections.abc import Iterable
from typing import NoReturn


class UserError(Exception):
    """Bad input: the message says what is wrong and what to do. Shown without a traceback."""

    status = 1  # that the program exits with


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """'no rule 'dpt'; did you mean 'dtp'?', or the list of known names if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean {near[0]!r}?' if near else f'known: {", ".join(known)}.'
    return UserError(f'no {kind} {name!r}; {hint}')


def say(message: object) -> None:
    """Tells what should be known, and goes on."""
    print(f'bioprop: {message}', file=sys.stderr, flush=True)


def fail(message: object, status: int = 1) -> NoReturn:
    """Ends the program with one message, at once: no thread of a library has the last word."""
    sys.stdout.flush()
    print(f'\nbioprop: {message}', file=sys.stderr, flush=True)
    os._exit(status)
