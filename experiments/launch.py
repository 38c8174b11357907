"""What the launchers of studies share: their flags, and how they end."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags

from bioprop.command_line import run
from bioprop.errors import UserError
from bioprop.records.paths import local
from bioprop.records.provenance import cores
from bioprop.studies.study import MEMBERS, Study

STUDY = flags.DEFINE_string('study', None, 'Folder of the study; processes may share it.')
MEMBERS_FLAG = flags.DEFINE_integer(
    'members', MEMBERS, 'Runs in one program at most; each process takes as many at once.', 1
)
CPU_DEVICES = flags.DEFINE_integer(
    'cpu_devices', None, 'On a CPU: devices to divide it into. Default: its cores.', 1
)


def named_study() -> Path:
    """The folder of --study. Raises UserError if none is named."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    return local(STUDY.value, '--study')


def out(default: Path) -> Path:
    """What --out names."""
    return local(flags.FLAGS.out, '--out') if flags.FLAGS.out else default


def open_study(default: str, purpose: dict) -> Study:
    """The study that the flags name. Raises UserError if the folder holds another one."""
    return Study(local(STUDY.value or default, '--study'), purpose, MEMBERS_FLAG.value)


def command(program: str, argv: list[str]) -> str:
    """The command line, without what says where, on what and how far it runs."""
    here = ('--study', '--members', '--cpu_devices', '--out', '--finished')
    return ' '.join(['python -m ' + program, *(x for x in argv[1:] if not x.startswith(here))])


def launch(main: Callable[[list[str]], None], choices: Sequence[str] = ()) -> None:
    """Runs a launcher, on a CPU with its cores as devices. See `bioprop.command_line.run`."""

    def on_all_cores(argv):
        divide_cpu(CPU_DEVICES.value)
        main(argv)

    run(on_all_cores, choices)


def divide_cpu(devices: int | None = None) -> None:
    """Makes the CPU that many devices, by default one a core; before JAX has looked for any."""
    jax.config.update('jax_num_cpu_devices', devices or cores())
