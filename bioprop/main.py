"""Trains one network by one learning rule.

python -m bioprop.main --config=configs/mnist_dtp.py:schedule=alternating

The config file gives every setting; --config.KEY=VALUE changes one, and so does KEY=VALUE after the
file's colon (several are divided by commas). Often changed: dataset, data_dir, net=fc|lc|conv,
hidden, schedule, epochs, batch_size, seed, lr, feedback_lr, sigma,
hyperparameters=published|tuned, diagnostics=cheap (what the rule does, measured on the way). All
keys stand, with their meaning, in bioprop/settings/keys.py. Another rule is named after the colon,
--config=configs/mnist.py:rule=NAME, since its own keys come with it.

Several machines run the same command with --distributed; on Slurm and on TPU pods they find each
other, elsewhere --coordinator, --processes and --process say how, and --wait_seconds for how long
one waits for the others. They must share the workdir.

Running the same command again resumes. The workdir gets config.json, metrics.jsonl, TensorBoard
events, checkpoints/ and summary.json (errors in percent); --config.wandb_project=NAME tells Weights
& Biases, too. --dry_run trains nothing: it prints shapes, FLOPs, bytes, and the time of a step and
an epoch on named hardware.
"""

from absl import flags

from bioprop.command_line import DRY_RUN, run
from bioprop.costs import dry_run
from bioprop.errors import UserError
from bioprop.records.paths import local
from bioprop.records.workdir import default_workdir
from bioprop.running.team import join
from bioprop.running.train import train
from bioprop.settings import config_file
from bioprop.settings.resolve import resolve

config_file.define()
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of this run. Default: one in runs/ for each configuration.'
)
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'One of several processes of a run.')
COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0.')
PROCESSES = flags.DEFINE_integer('processes', None, 'How many there are.', 1)
PROCESS = flags.DEFINE_integer('process', None, 'Which of them this is, from 0.', 0)
WAIT_SECONDS = flags.DEFINE_integer('wait_seconds', 300, 'For the other processes, at most.', 1)
flags.declare_key_flag('dry_run')
flags.adopt_module_key_flags(dry_run)


def main(argv: list[str]) -> None:
    """Trains, or says what training would cost."""
    config = config_file.configuration()
    places = (COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if DISTRIBUTED.value:
        join(*places, WAIT_SECONDS.value)
    elif places != (None, None, None):
        raise UserError('--coordinator, --processes and --process belong to --distributed')
    config = resolve(config)
    if DRY_RUN.value:
        return dry_run.dry_run(config)
    given = WORKDIR.value and local(WORKDIR.value, '--workdir')
    workdir = given or default_workdir(config)
    train(config, workdir, argv[1:])


if __name__ == '__main__':
    run(main)
