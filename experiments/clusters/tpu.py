"""Trains on a Cloud TPU: makes the machines, installs this source tree, runs, fetches, deletes.

python -m experiments.clusters.tpu all --name=pod --project=PROJECT --zone=us-central2-b \
    --type=v4-32 --workdir=/mnt/shared/run -- --config=configs/mnist_bp.py --config.seed=1

The steps, each also a command of its own: create; install (the last commit, on every worker); run
(what follows -- goes to bioprop.main, in the background, on every worker); follow (the log of
worker 0; Ctrl-C leaves the training alone); fetch (the workdir, into --destination); delete. `all`
is create to follow. The workdir must be a folder that all workers see, such as a mounted Filestore
share: `delete` and `all` then resume after a preemption. One worker alone needs none.
--dry_run prints the commands of gcloud, which must be installed and logged in for all else.
"""

import shlex
import tempfile
from pathlib import Path
from typing import NamedTuple

from absl import flags

from bioprop import command_line
from bioprop.errors import UserError
from experiments.clusters import remote
from experiments.clusters.remote import Command

NAME = flags.DEFINE_string('name', None, 'Of the TPU.')
PROJECT = flags.DEFINE_string('project', None, "Of Google Cloud. Default: gcloud's own.")
ZONE = flags.DEFINE_string('zone', None, 'Where the TPU is, such as us-central2-b.')
TYPE = flags.DEFINE_string('type', None, 'create, all: the accelerator, such as v4-32.')
RUNTIME = flags.DEFINE_string(
    'runtime', None, "create, all: the machines' software. Default: what --type needs for JAX."
)
SPOT = flags.DEFINE_bool('spot', False, 'create, all: at a lower price, and may be taken away.')
QUEUED = flags.DEFINE_bool('queued', False, 'create, delete: as a request that waits its turn.')
WORKDIR = flags.DEFINE_string('workdir', None, 'run, fetch: of bioprop.main.')
DESTINATION = flags.DEFINE_string('destination', 'runs', 'fetch: local folder to copy into.')
flags.declare_key_flag('dry_run')

STEPS = ('create', 'install', 'run', 'follow', 'fetch', 'delete')
ALL = ('create', 'install', 'run', 'follow')
# Software by the start of the type; other types have that of v4.
RUNTIMES = {
    'v5litepod': 'v2-alpha-tpuv5-lite', 'v5p': 'v2-alpha-tpuv5', 'v6e': 'v2-alpha-tpuv6e',
}  # fmt: skip
# Paths on a worker, relative to its home.
SOURCE, ARCHIVE, LOG = 'bioprop', 'bioprop.tar.gz', 'bioprop.log'
PYTHON = '.venv/bin/python'


class Settings(NamedTuple):
    """What the flags say."""

    name: str
    zone: str
    project: str | None = None
    kind: str | None = None
    runtime: str | None = None
    spot: bool = False
    queued: bool = False
    workdir: str | None = None
    destination: str = 'runs'
    arguments: tuple[str, ...] = ()  # of bioprop.main


def commands(step: str, settings: Settings, archive: Path) -> list[Command]:
    """The commands of a step, or of all. archive is the local file that the source goes into.

    Raises UserError for a setting that is missing.
    """
    if step == 'all':
        if settings.queued:
            raise UserError(
                'a queued TPU is not there at once: `create --queued`, then, when it is ACTIVE, '
                'install, run and follow'
            )
        return [command for each in ALL for command in commands(each, settings, archive)]
    return {
        'create': create, 'install': lambda s: install(s, archive), 'run': run,
        'follow': follow, 'fetch': fetch, 'delete': delete,
    }[step](settings)  # fmt: skip


def create(settings: Settings) -> list[Command]:
    """Makes the machines, or asks for them."""
    kind = _needed(settings.kind, 'type')
    runtime = settings.runtime or RUNTIMES.get(kind.partition('-')[0], 'tpu-ubuntu2204-base')
    rest = [*_where(settings), *(['--spot'] if settings.spot else [])]
    accelerator = f'--accelerator-type={kind}'
    if settings.queued:
        node = [f'--node-id={settings.name}', accelerator, f'--runtime-version={runtime}']
        return [[*_tpus('queued-resources', 'create', settings), *node, *rest]]
    return [[*_tpus('tpu-vm', 'create', settings), accelerator, f'--version={runtime}', *rest]]


def install(settings: Settings, archive: Path) -> list[Command]:
    """The last commit and what it needs, on every worker. Their own Python is too old."""
    packages = shlex.join(['jax[tpu]', '--editable', f'./{SOURCE}[imagenet]'])
    script = ' && '.join([
        f'mkdir -p {SOURCE}',
        f'tar -xzf {ARCHIVE} -C {SOURCE}',
        'python3 -m pip install --user --quiet uv',
        f'python3 -m uv venv --allow-existing --python 3.12 {SOURCE}/.venv',
        f'python3 -m uv pip install --quiet --python {SOURCE}/{PYTHON} {packages}',
    ])  # fmt: skip
    copy = [str(archive), f'{settings.name}:{ARCHIVE}', '--worker=all', *_where(settings)]
    return [
        ['git', 'archive', '--format=tar.gz', f'--output={archive}', 'HEAD'],
        ['gcloud', 'compute', 'tpus', 'tpu-vm', 'scp', *copy],
        _ssh(settings, 'all', script),
    ]


def run(settings: Settings) -> list[Command]:
    """Training on every worker, in the background."""
    workdir = f'--workdir={_workdir(settings)}'
    training = shlex.join(remote.training(PYTHON, [workdir, *settings.arguments]))
    background = f'(nohup {training} >> ../{LOG} 2>&1 < /dev/null &)'
    return [_ssh(settings, 'all', f'cd {SOURCE} && {background}')]


def follow(settings: Settings) -> list[Command]:
    """The log of worker 0 as it grows."""
    return [_ssh(settings, '0', f'tail -n 100 -F {LOG}')]


def fetch(settings: Settings) -> list[Command]:
    """The workdir, from worker 0, into a folder of its name."""
    workdir = _workdir(settings)
    path = workdir if workdir.startswith('/') else f'{SOURCE}/{workdir}'
    copy = ['--recurse', f'{settings.name}:{path}', settings.destination, '--worker=0']
    return [
        ['mkdir', '-p', settings.destination],
        ['gcloud', 'compute', 'tpus', 'tpu-vm', 'scp', *copy, *_where(settings)],
    ]


def delete(settings: Settings) -> list[Command]:
    """Gives the machines back; what is on their disks is lost."""
    if settings.queued:
        request = _tpus('queued-resources', 'delete', settings)
        return [[*request, '--force', '--quiet', *_where(settings)]]
    return [[*_tpus('tpu-vm', 'delete', settings), '--quiet', *_where(settings)]]


def _tpus(group: str, verb: str, settings: Settings) -> Command:
    return ['gcloud', 'compute', 'tpus', group, verb, settings.name]


def _ssh(settings: Settings, worker: str, script: str) -> Command:
    options = [f'--worker={worker}', f'--command={script}', *_where(settings)]
    return [*_tpus('tpu-vm', 'ssh', settings), *options]


def _where(settings: Settings) -> Command:
    project = [f'--project={settings.project}'] if settings.project else []
    return [f'--zone={settings.zone}', *project]


def _workdir(settings: Settings) -> str:
    workdir = _needed(settings.workdir, 'workdir').rstrip('/')
    if '://' in workdir:
        raise UserError(
            f'--workdir={workdir}: a run appends to files, which a bucket cannot; name a folder of '
            'a file system that the workers share'
        )
    return workdir


def _needed(value: str | None, flag: str) -> str:
    if not value:
        raise UserError(f'give --{flag}')
    return value


def main(argv: list[str]) -> None:
    """Runs the commands of one step, or of all."""
    settings = Settings(
        _needed(NAME.value, 'name'), _needed(ZONE.value, 'zone'), PROJECT.value, TYPE.value,
        RUNTIME.value, SPOT.value, QUEUED.value, WORKDIR.value, DESTINATION.value, tuple(argv[2:]),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        remote.run(commands(argv[1], settings, Path(folder) / ARCHIVE))


if __name__ == '__main__':
    command_line.run(main, (*STEPS, 'all'), passes_on=True)
