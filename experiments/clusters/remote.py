"""What the launchers on other machines share: a training command, and the running of commands."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence

from bioprop.command_line import DRY_RUN
from bioprop.errors import UserError

Command = list[str]


def training(python: str, arguments: Sequence[str]) -> Command:
    """`bioprop.main` on every process of a cluster, with these arguments.

    Raises UserError if they name no config.
    """
    if not any(argument.startswith('--config=') for argument in arguments):
        raise UserError(
            'give the arguments of bioprop.main after --, such as -- --config=configs/mnist_bp.py'
        )
    return [python, '-m', 'bioprop.main', '--distributed', *arguments]


def run(commands: Sequence[Command]) -> None:
    """Runs commands one after another, each printed before it; a dry run only prints them.

    Raises UserError if a program is missing, or ends with another status than 0.
    """
    for command in commands:
        print(shlex.join(command), flush=True)
        if DRY_RUN.value:
            continue
        if shutil.which(command[0]) is None:
            raise UserError(f'there is no {command[0]} on this machine: install it, or --dry_run')
        status = subprocess.run(command).returncode
        if status:
            raise UserError(f'{" ".join(command[:5])} ... ended with status {status}')
