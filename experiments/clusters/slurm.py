"""Trains on GPUs of a Slurm cluster: submits one batch job, or prints its script.

python -m experiments.clusters.slurm --nodes=2 --gpus=8 --time=24:00:00 --partition=gpu \
    -- --config=configs/mnist_bp.py --workdir=runs/mnist_bp

What follows -- goes to bioprop.main, in one process for each GPU. --dry_run prints the script. At
its time limit, or when preempted, the job is put back into the queue, and resumes. Submit it where
the training would be started by hand: folder and Python are those of this command.
"""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from bioprop import command_line
from experiments.clusters import remote

NODES = flags.DEFINE_integer('nodes', 1, 'Machines.', 1)
GPUS = flags.DEFINE_integer('gpus', 1, 'GPUs of each node.', 1)
CPUS = flags.DEFINE_integer('cpus', None, "Cores for each GPU. Default: the cluster's.", 1)
TIME = flags.DEFINE_string('time', '24:00:00', 'Limit, as Slurm writes it.')
PARTITION = flags.DEFINE_string('partition', None, "Default: the cluster's.")
ACCOUNT = flags.DEFINE_string('account', None, 'To charge.')
JOB = flags.DEFINE_string('job', 'bioprop', 'Name of the job; its log is JOB-NUMBER.log.')
flags.declare_key_flag('dry_run')

SECONDS = 120  # ahead of the time limit, at which the processes are told to end

# With B: the batch shell alone gets the signal, and hands it to the processes under srun: it must
# know of it, for at a time limit Slurm would not put the job back by itself. A SIGTERM to srun
# would end them at once. The first wait ends at the signal, the second with the processes.
BODY = """
stopped=
trap 'stopped=1; scancel --signal=TERM "$SLURM_JOB_ID"' TERM
srun {command} &
training=$!
wait "$training"
status=$?
if [ "$stopped" ]; then
    wait "$training"
    status=$?
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def script(
    arguments: Sequence[str],
    nodes: int,
    gpus: int,
    time: str,
    python: str = 'python',
    cpus: int | None = None,
    **options: str | None,
) -> str:
    """The batch script; options are further ones of sbatch, None where it has its own default."""
    options = {
        'nodes': nodes,
        'ntasks-per-node': gpus,  # JAX takes one GPU for each process on Slurm
        'gpus-per-node': gpus,
        'cpus-per-task': cpus,
        'time': time,
        'signal': f'B:TERM@{SECONDS}',
        'open-mode': 'append',
    } | options
    lines = [f'#SBATCH --{name}={value}' for name, value in options.items() if value is not None]
    cores = [] if cpus is None else [f'--cpus-per-task={cpus}']  # which srun does not take over
    command = shlex.join([*cores, *remote.training(python, arguments)])
    return '\n'.join(['#!/bin/bash', *lines, '#SBATCH --requeue', BODY.format(command=command)])


def main(argv: list[str]) -> None:
    """Submits the job, or prints its script."""
    text = script(
        argv[1:], NODES.value, GPUS.value, TIME.value, sys.executable, CPUS.value,
        partition=PARTITION.value, account=ACCOUNT.value, output=f'{JOB.value}-%j.log',
        **{'job-name': JOB.value},
    )  # fmt: skip
    if remote.DRY_RUN.value:
        print(text, end='')
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'job.sh'
        path.write_text(text)
        remote.run([['sbatch', str(path)]])


if __name__ == '__main__':
    command_line.run(main, passes_on=True)
