"""What a user did wrong, said in one message."""

import difflib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

# Where code lies that the user did not write.
OURS = [Path(__file__).parents[1] / name for name in ('bioprop', 'experiments')]
INSTALLED = map(sysconfig.get_path, ('stdlib', 'platstdlib', 'purelib', 'platlib'))
LIBRARIES = ('<', *(f'{folder}{os.sep}' for folder in (*OURS, *INSTALLED)))


class UserError(Exception):
    """Bad input: the message says what is wrong and what to do. Shown without a traceback."""

    status = 1  # that the program exits with


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """'no rule 'dpt'; did you mean 'dtp'?', or the list of known names if none is near."""
    known = sorted(known)
    if not known:
        return UserError(f'no {kind} {name!r}')
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


def told(error: BaseException) -> str:
    """An exception of the user's own code and where it arose: 'FILE, line N: NameError: ...'."""
    kind, message = type(error).__name__, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, frame.lineno) for frame in frames]
    if isinstance(error, SyntaxError) and error.filename:
        places, message = [*places, (error.filename, error.lineno)], error.msg
    for file, line in reversed(places):
        if not file.startswith(LIBRARIES):
            return f'{file}, line {line}: {kind}: {message}'
    return message or kind
