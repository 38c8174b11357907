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


def run_main(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """What `python -m bioprop.main ARGUMENTS` printed, and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.join(folder, name) for name in ('out', 'err')]
        process = FORKS.Process(target=_main, args=(arguments, environment, *places))
        process.start()
        process.join()
        printed = [Path(place).read_text() for place in places]
    return subprocess.CompletedProcess(arguments, process.exitcode, *printed)


def _main(arguments, environment, *places):
    for place, file in zip(places, (sys.stdout, sys.stderr), strict=True):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), file.fileno())
    from bioprop import main
    from bioprop.command_line import run

    os.chdir(ROOT)
    os.environ.update(environment)
    sys.argv = ['bioprop.main', *arguments]
    run(main.main)
