"""Trains one network by one learning rule.

python -m bioprop.main --config=configs/mnist_dtp.py:schedule=alternating

The config file gives every setting; --config.KEY=VALUE changes one, and so does KEY=VALUE after the
file's colon (several are divided by commas). Often changed: dataset, data_dir, net=fc|lc|conv,
hidden, rule, schedule, epochs, batch_size, seed, lr, inverse_lr, sigma,
hyperparameters=published|tuned. All keys stand, with their meaning, in bioprop/config.py.

Running the same command again resumes. The workdir gets config.json, metrics.jsonl, TensorBoard
events, checkpoints/ and summary.json (errors in percent).
"""

import ast
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from bioprop.errors import UserError, fail
from bioprop.resolve import resolve
from bioprop.train import train

CONFIG = config_flags.DEFINE_config_file('config', None, 'Config file.', lock_config=True)
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of this run. Default: runs/DATASET_NET_RULE_SCHEDULE_SEED.'
)
flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
    """Trains; whatever goes wrong ends in one message and a non-zero exit."""
    try:
        config = resolve(CONFIG.value)
        names = ('dataset', 'net', 'rule', 'schedule', 'seed')
        default = Path('runs', '_'.join(str(config[name]) for name in names).replace(':', '.'))
        train(config, Path(WORKDIR.value or default), argv[1:])
    except UserError as error:
        fail(error)
    except OSError as error:
        fail(f'{error.filename or "workdir"}: {error.strerror or error}. What was saved is kept.')
    except KeyboardInterrupt:
        fail('interrupted; run the same command to resume', status=130)


def parse(argv: list[str]) -> list[str]:
    """Parses the flags, the config file and its overrides; ends the program if they are wrong."""
    logging.set_verbosity(logging.FATAL)  # what fails is said once, by `fail`
    try:
        rest = flags.FLAGS(argv)
    except (UserError, flags.Error, OSError, SyntaxError) as error:
        fail(error, status=2)
    except AttributeError as error:
        fail(f'no such config key: {_key(error)}', status=2)
    if len(rest) > 1:
        fail(f'unexpected arguments {rest[1:]}; settings are given as --config.KEY=VALUE', status=2)
    return argv


def _key(error: AttributeError) -> str:
    """The key that ml_collections does not have: it quotes the quoted name, and may suggest one.

    Raises the error again if it comes from somewhere else.
    """
    try:
        return ast.literal_eval(str(error)).replace('\n', '; ')
    except (ValueError, SyntaxError):
        raise error from None


if __name__ == '__main__':
    app.run(main, flags_parser=parse)
