"""Random search over the hyperparameters of one rule, then its winner on several seeds.

python -m experiments.search --config=configs/mnist_dtp.py:schedule=alternating --configurations=60

config.epochs is what the winner is trained for. Every choice is by validation error. Each run that
ends is in STUDY/results.jsonl; the same command again resumes, and any number of processes may
work on one study at once.
"""

import statistics
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from bioprop.resolve import resolve
from bioprop.search import DOMAINS, RUNGS, Search, rank
from bioprop.study import Study, identity
from experiments.launch import launch, open_study

CONFIG = config_flags.DEFINE_config_file('config', None, 'Config file.', lock_config=True)
CONFIGURATIONS = flags.DEFINE_integer('configurations', 60, 'To try, the given one included.', 1)
RUNGS_FLAG = flags.DEFINE_enum(
    'rungs', 'full', sorted(RUNGS),
    'full: train all to the end; halving: the best third three times as long, and so on; imagenet: '
    'after 10 epochs the best alone.',
)  # fmt: skip
SEARCH_EPOCHS = flags.DEFINE_integer(
    'search_epochs', None, 'Epochs of the search. Default: config.epochs.', 1
)
DOMAIN = flags.DEFINE_enum(
    'domain', 'wide', sorted(DOMAINS), "table4: the paper's; wide: holds table 5 as well."
)
SEEDS = flags.DEFINE_integer('seeds', 5, 'Runs of the winner.', 1)
flags.mark_flag_as_required('config')


def report(study: Study, search: Search) -> list[str]:
    """Lines on the trials of the last rung, best first, and on the winner."""
    *rungs, winners = search.stages(study.result)
    trials = rungs[-1]
    results = [study.result(config) for config in trials]
    drawn = [name for name in search.domain if name in trials[0]]
    lines = ['validation %  ' + '  '.join(f'{name:>10}' for name in drawn)]
    for place in rank(results)[:10]:
        score = 'diverged' if results[place]['diverged'] else results[place]['validation_error']
        values = '  '.join(f'{trials[place][name] or 0:10.3g}' for name in drawn)
        lines.append(f'{score:>12}  {values}')
    for name in ('train_error', 'validation_error', 'test_error_at_best_validation'):
        values = [study.result(config)[name] for config in winners]
        values = [value for value in values if value is not None]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        lines.append(f'{name}  {statistics.mean(values):.2f} +- {spread:.2f} (n={len(values)})')
    return lines


def main(argv: list[str]) -> None:
    """Searches, and prints what was found."""
    config = resolve(CONFIG.value)
    epochs = SEARCH_EPOCHS.value or config['epochs']
    search = Search(
        config,
        DOMAINS[DOMAIN.value](),
        RUNGS[RUNGS_FLAG.value](CONFIGURATIONS.value, epochs),
        SEEDS.value,
        config['epochs'],
    )
    names = ('dataset', 'net', 'rule', 'schedule')
    default = Path('studies', '_'.join(str(config[name]) for name in names))
    purpose = search._replace(config=identity(config))._asdict()
    study = open_study(default, purpose)
    study.work(search.plan)
    print('\n'.join(report(study, search)))


if __name__ == '__main__':
    launch(main)
