"""Being told to end: SIGTERM, or a cloud's notice that a machine is to be taken away."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

from bioprop.errors import UserError


class Preempted(UserError):
    """The run was told to end, and has saved where it stands."""

    status = 128 + signal.SIGTERM


@contextlib.contextmanager
def watched() -> Iterator[Callable[[int], bool]]:
    """Gives a function of the step: whether the run is to save and end there.

    Several processes must all ask at the same steps. They agree through the coordination service,
    which has its own watch.
    """
    if jax.process_count() > 1:
        yield _agreed()
        return
    if threading.current_thread() is not threading.main_thread():  # it cannot catch signals
        yield lambda step: False
        return
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield lambda step: told.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def _agreed() -> Callable[[int], bool]:
    """The service says yes at one number alone, the one after the last that any process asked for.

    So each number from 0 on is asked for, also those within a call of many steps.
    """
    asked = -1

    def told(step):
        nonlocal asked
        numbers, asked = range(asked + 1, step + 1), step
        return any([multihost_utils.reached_preemption_sync_point(number) for number in numbers])

    return told
