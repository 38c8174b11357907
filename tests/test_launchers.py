"""Launchers on other machines: the commands that they make, run against stand-ins."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bioprop.errors import UserError
from experiments.clusters import remote, slurm, tpu
from experiments.clusters.tpu import Settings

ROOT = Path(__file__).parent.parent
# Whatever a shell could take apart.
ARGUMENTS = (
    '--config=configs/mnist_fa.py:net=lc,hidden=((5, 16, 2), 512)',
    "--config.net='it is'",
    '--config.data_dir=$HOME/"my data"; echo `no` {command} \\n * & | ( # %j',
)
POD = Settings('pod', 'us-a', 'mine', 'v4-32', workdir='/mnt/run', arguments=ARGUMENTS)
ARCHIVE = Path('/tmp/archive.tar.gz')


def stand_in(folder, name, script=''):
    """A program that adds its arguments to NAME.calls, as JSON, and then runs a script."""
    folder.mkdir(parents=True, exist_ok=True)
    record = 'import json, sys; print(json.dumps(sys.argv[2:]), file=open(sys.argv[1], "a"))'
    path = folder / name
    path.write_text(
        f'#!/bin/bash\n{shlex.join([sys.executable, "-c", record])} '
        f'{shlex.quote(str(folder / name))}.calls "$@"\n{script}'
    )
    path.chmod(0o755)
    return path


def called(folder, name):
    """The arguments of each call."""
    path = folder / f'{name}.calls'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def launch(launcher, *arguments, path):
    """A launcher in a process of its own, with that PATH."""
    return subprocess.run(
        [sys.executable, '-m', f'experiments.clusters.{launcher}', *arguments],
        cwd=ROOT, capture_output=True, text=True,
        env={'PATH': path, 'PYTHONPATH': str(ROOT), 'HOME': os.environ.get('HOME', '/')},
    )  # fmt: skip


def with_fakes(folder):
    return f'{folder}:{os.environ["PATH"]}'


# ------------------------------------------------------------------ TPU


def test_the_commands_of_each_step():
    where = ['--zone=us-a', '--project=mine']
    tpus = ['gcloud', 'compute', 'tpus']
    made = {step: tpu.commands(step, POD, ARCHIVE) for step in (*tpu.STEPS, 'all')}
    assert made['create'] == [
        [*tpus, 'tpu-vm', 'create', 'pod', '--accelerator-type=v4-32',
         '--version=tpu-ubuntu2204-base', *where],
    ]  # fmt: skip
    assert made['install'][:2] == [
        ['git', 'archive', '--format=tar.gz', f'--output={ARCHIVE}', 'HEAD'],
        [*tpus, 'tpu-vm', 'scp', str(ARCHIVE), 'pod:bioprop.tar.gz', '--worker=all', *where],
    ]
    for step, worker in (('install', 'all'), ('run', 'all'), ('follow', '0')):
        *start, script, zone, project = made[step][-1]
        assert start == [*tpus, 'tpu-vm', 'ssh', 'pod', f'--worker={worker}']
        assert [zone, project] == where
        assert script.startswith('--command=')
    assert made['fetch'][-1] == [
        *tpus,
        'tpu-vm',
        'scp',
        '--recurse',
        'pod:/mnt/run',
        'runs',
        '--worker=0',
        *where,
    ]
    assert made['delete'] == [[*tpus, 'tpu-vm', 'delete', 'pod', '--quiet', *where]]
    assert made['all'] == [*made['create'], *made['install'], *made['run'], *made['follow']]


def test_a_workdir_in_a_bucket_is_refused():
    with pytest.raises(UserError, match='a bucket cannot'):
        tpu.commands('run', POD._replace(workdir='gs://bucket/run'), ARCHIVE)


def test_queued_and_spot_and_other_generations():
    queued = POD._replace(kind='v5litepod-16', queued=True, spot=True, project=None)
    request = ['gcloud', 'compute', 'tpus', 'queued-resources']
    assert tpu.commands('create', queued, ARCHIVE) == [
        [*request, 'create', 'pod', '--node-id=pod', '--accelerator-type=v5litepod-16',
         '--runtime-version=v2-alpha-tpuv5-lite', '--zone=us-a', '--spot'],
    ]  # fmt: skip
    assert tpu.commands('delete', queued, ARCHIVE) == [
        [*request, 'delete', 'pod', '--force', '--quiet', '--zone=us-a']
    ]
    with pytest.raises(UserError, match='ACTIVE'):
        tpu.commands('all', queued, ARCHIVE)
    for kind, runtime, version in (
        ('v6e-8', None, 'v2-alpha-tpuv6e'), ('v5p-8', None, 'v2-alpha-tpuv5'),
        ('v3-8', None, 'tpu-ubuntu2204-base'), ('v6e-8', 'own', 'own'),
    ):  # fmt: skip
        (command,) = tpu.create(POD._replace(kind=kind, runtime=runtime))
        assert f'--version={version}' in command


def test_a_workdir_on_the_workers_comes_from_the_first():
    for workdir, path in (('runs/a/', 'bioprop/runs/a'), ('/data/a', '/data/a')):
        *_, command = tpu.fetch(POD._replace(workdir=workdir, destination='here'))
        assert command[4:8] == ['scp', '--recurse', f'pod:{path}', 'here']
        assert '--worker=0' in command


def script_of(command):
    (script,) = [word for word in command if word.startswith('--command=')]
    return script.removeprefix('--command=')


def test_the_arguments_survive_the_workers_shell(tmp_path):
    """As `ssh` would run it: in the home folder, with a stand-in for Python."""
    stand_in(tmp_path / 'bioprop' / '.venv' / 'bin', 'python', 'echo said; echo failed >&2')
    (command,) = tpu.run(POD)
    subprocess.run(['bash', '-c', script_of(command)], cwd=tmp_path, check=True, timeout=20)
    log = tmp_path / 'bioprop.log'
    deadline = time.monotonic() + 20
    while not (log.exists() and 'failed' in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 'said' in log.read_text()
    assert called(tmp_path / 'bioprop' / '.venv' / 'bin', 'python') == [
        ['-m', 'bioprop.main', '--distributed', '--workdir=/mnt/run', *ARGUMENTS]
    ]


def test_install_unpacks_the_source_and_makes_an_environment(tmp_path):
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree' / 'setup.py').write_text('')
    archive = tmp_path / 'bioprop.tar.gz'
    subprocess.run(['tar', '-czf', archive, '-C', tmp_path / 'tree', '.'], check=True)
    (tmp_path / 'bioprop').mkdir()
    (tmp_path / 'bioprop' / 'kept').write_text('')  # such as the workdir of an earlier run
    stand_in(tmp_path / 'bin', 'python3')
    script = script_of(tpu.install(POD, archive)[-1])
    environment = {'PATH': with_fakes(tmp_path / 'bin')}
    subprocess.run(['bash', '-c', script], cwd=tmp_path, check=True, env=environment)
    assert {path.name for path in (tmp_path / 'bioprop').iterdir()} == {'setup.py', 'kept'}
    pip, venv, packages = called(tmp_path / 'bin', 'python3')
    assert pip[:3] == ['-m', 'pip', 'install']
    assert venv[:3] == ['-m', 'uv', 'venv']
    assert venv[-1] == 'bioprop/.venv'
    assert packages[-3:] == ['jax[tpu]', '--editable', './bioprop[imagenet]']


def test_the_tpu_command_line(tmp_path):
    """--dry_run calls nothing, a step calls gcloud, and what fails is said in one message."""
    stand_in(tmp_path, 'gcloud', '[ "$4" != delete ]')
    stand_in(tmp_path, 'git')
    flags = ('--name=pod', '--zone=us-a', '--type=v4-32', '--workdir=/mnt/run')
    path = with_fakes(tmp_path)
    dry = launch('tpu', 'all', *flags, '--dry_run', '--', *ARGUMENTS, path=path)
    assert dry.returncode == 0, dry.stderr
    assert called(tmp_path, 'gcloud') == called(tmp_path, 'git') == []
    printed = [shlex.split(line) for line in dry.stdout.splitlines()]
    pod = POD._replace(project=None)
    expected = tpu.commands('all', pod, ARCHIVE)
    archives = {word for line in printed for word in line if word.endswith(tpu.ARCHIVE)}
    assert len(printed) == len(expected) == 6
    assert len(archives) == 3  # of git, of scp here, and of scp there
    assert printed[0] == expected[0]
    assert printed[3:] == expected[3:]

    done = launch('tpu', 'run', *flags, '--', *ARGUMENTS, path=path)
    assert done.returncode == 0, done.stderr
    assert called(tmp_path, 'gcloud') == [command[1:] for command in tpu.run(pod)]

    refused = launch('tpu', 'delete', *flags, path=path)
    assert 'gcloud compute tpus tpu-vm delete ... ended with status 1' in refused.stderr
    assert 'Traceback' not in refused.stderr
    refused = launch('tpu', 'follow', *flags, path=str(tmp_path / 'nothing'))
    assert 'there is no gcloud' in refused.stderr


def test_what_is_missing_is_named():
    for settings, words in (
        (POD._replace(arguments=()), 'after --, such as -- --config='),
        (POD._replace(workdir=None), 'give --workdir'),
    ):
        with pytest.raises(UserError, match=words):
            tpu.commands('run', settings, ARCHIVE)
    with pytest.raises(UserError, match='give --type'):
        tpu.commands('all', POD._replace(kind=None), ARCHIVE)


# ------------------------------------------------------------------ Slurm


def run_script(tmp_path, text, **programs):
    for name, script in programs.items():
        stand_in(tmp_path, name, script)
    path = tmp_path / 'job.sh'
    path.write_text(text)
    subprocess.run(['bash', '-n', path], check=True)
    environment = os.environ | {'PATH': with_fakes(tmp_path), 'SLURM_JOB_ID': '7'}
    return subprocess.Popen(['bash', path], cwd=tmp_path, env=environment)


def test_the_script_asks_for_a_process_for_each_gpu():
    text = slurm.script(ARGUMENTS, 2, 8, '1:00:00', cpus=4, partition='gpu', account=None)
    asked = [line for line in text.splitlines() if line.startswith('#SBATCH')]
    assert text.startswith('#!/bin/bash\n#SBATCH')
    assert sorted(line.removeprefix('#SBATCH --') for line in asked) == [
        'cpus-per-task=4', 'gpus-per-node=8', 'nodes=2', 'ntasks-per-node=8', 'open-mode=append',
        'partition=gpu', 'requeue', 'signal=B:TERM@120', 'time=1:00:00',
    ]  # fmt: skip


@pytest.mark.parametrize('status', [0, 3])
def test_the_script_runs_the_training_and_ends_as_it_does(status, tmp_path):
    text = slurm.script(ARGUMENTS, 1, 2, '1:00:00', 'python', cpus=4)
    job = run_script(tmp_path, text, srun=f'exit {status}', scontrol='', scancel='')
    assert job.wait(20) == status
    assert called(tmp_path, 'srun') == [
        ['--cpus-per-task=4', 'python', '-m', 'bioprop.main', '--distributed', *ARGUMENTS]
    ]
    assert called(tmp_path, 'scontrol') == called(tmp_path, 'scancel') == []


def test_a_signal_reaches_the_processes_and_then_puts_the_job_back(tmp_path):
    """The processes take their time to end; the job is put back after that."""
    job = run_script(
        tmp_path, slurm.script(ARGUMENTS, 1, 1, '1:00:00'),
        srun='trap "sleep 0.3; touch ended; exit 143" TERM; echo $$ > pid; touch ready\n'
        'while :; do sleep 0.05; done',
        scancel='kill -TERM $(cat pid)',
        scontrol='[ -e ended ] && touch after',
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (tmp_path / 'ready').exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 143
    assert called(tmp_path, 'scancel') == [['--signal=TERM', '7']]
    assert called(tmp_path, 'scontrol') == [['requeue', '7']]
    assert (tmp_path / 'after').exists()


def test_the_slurm_command_line(tmp_path):
    """The job that sbatch is given is the one that --dry_run prints."""
    stand_in(tmp_path, 'sbatch', f'cat "$1" > {tmp_path}/submitted')
    flags, path = ('--nodes=2', '--gpus=4', '--account=lab'), with_fakes(tmp_path)
    dry = launch('slurm', *flags, '--dry_run', '--', *ARGUMENTS, path=path)
    assert dry.returncode == 0, dry.stderr
    assert called(tmp_path, 'sbatch') == []
    assert '#SBATCH --account=lab\n' in dry.stdout
    done = launch('slurm', *flags, '--', *ARGUMENTS, path=path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'submitted').read_text() == dry.stdout
    expected = shlex.join(remote.training(sys.executable, ARGUMENTS))
    assert f'srun {expected} &\n' in dry.stdout
    missing = launch('slurm', '--', *ARGUMENTS, path=str(tmp_path / 'nothing'))
    assert 'there is no sbatch' in missing.stderr
    assert 'Traceback' not in missing.stderr
