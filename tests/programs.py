"""`python -m bioprop.main` as a user runs it, without paying for its imports each time.

A server that has imported it and done nothing else forks a process for each run.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['bioprop.main'])


class Started:
    """A run of `python -m bioprop.main ARGUMENTS`, with what `subprocess.Popen` has for it."""

    def __init__(self, *arguments: str, **environment: str):
        self.args = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._places = [os.path.join(self._folder.name, name) for name in ('out', 'err')]
        self._process = FORKS.Process(target=_main, args=(arguments, environment, *self._places))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number: int) -> None:
        """To a run that has not ended."""
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has printed, once it has ended. Raises TimeoutExpired if it has not by then."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return tuple(Path(place).read_text() for place in self._places)


def run_main(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """What `python -m bioprop.main ARGUMENTS` printed, and its exit status."""
    started = Started(*arguments, **environment)
    printed = started.communicate()
    return subprocess.CompletedProcess(arguments, started.returncode, *printed)


def _main(arguments, environment, *places):
    for place, file in zip(places, (sys.stdout, sys.stderr), strict=True):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), file.fileno())
    from bioprop import main
    from bioprop.command_line import run

    os.chdir(ROOT)
    os.environ.update(environment)
    _configure(environment)
    sys.argv = ['bioprop.main', *arguments]
    run(main.main)


def _configure(environment):
    """JAX has read its variables when it was imported; these are given anew."""
    import jax

    for name, value in environment.items():
        if name.startswith('JAX_'):
            kind = type(jax.config.values[name.lower()])
            jax.config.update(name.lower(), kind(int(value)) if kind in (bool, int) else value)
