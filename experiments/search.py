"""Random search over the hyperparameters of one rule, then its winner on several seeds.

python -m experiments.search --config=configs/mnist_dtp.py:schedule=alternating --configurations=60

config.epochs is what the winner is trained for. Every choice is by validation error. Each run that
ends is in STUDY/results.jsonl; the same command again resumes, and any number of processes may
work on one study at once.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from absl import flags
from tabulate import tabulate

from bioprop.records.workdir import identity
from bioprop.settings import config_file
from bioprop.settings.resolve import make_rule, resolve
from bioprop.studies.search import DOMAINS, RUNGS, Search
from experiments import launch
from experiments.analysis.overview import entry
from experiments.analysis.rows import SCORES, load
from experiments.analysis.text import shown

config_file.define()
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
flags.adopt_module_key_flags(launch)


def report(runs: pd.DataFrame, domain: Iterable[str]) -> str:
    """The trials of the last rung, best first, and the winner over its seeds; of all its runs."""
    trials = runs[runs.role == 'trial']
    last = trials[trials.epochs == trials.epochs.max()].sort_values(['diverged', 'validation'])
    drawn = [name for name in domain if last[name].notna().any()]
    told, measure = entry(runs), runs.panel[0].measure
    unit = ' (%)' if measure == 'error' else ''
    winner = [
        (pattern.format(measure) + unit, shown(told[name], 4) if told[name] else 'all diverged')
        for name, pattern in SCORES.items()
    ]
    best = last[['validation', 'diverged', *drawn]].head(10)
    return '\n\n'.join([
        tabulate(best, 'keys', showindex=False, floatfmt='.3g', missingval='-'),
        tabulate(winner, headers=('winner', f'mean ± deviation of {told["planned"]} seeds')),
    ])  # fmt: skip


def main(argv: list[str]) -> None:
    """Searches, and prints what was found."""
    config = resolve(config_file.configuration())
    epochs = SEARCH_EPOCHS.value or config['epochs']
    search = Search(
        config,
        DOMAINS[DOMAIN.value](make_rule(config)),
        RUNGS[RUNGS_FLAG.value](CONFIGURATIONS.value, epochs),
        SEEDS.value,
        config['epochs'],
    )
    names = ('dataset', 'net', 'rule', 'schedule')
    default = Path('studies', '_'.join(str(config[name]) for name in names).replace(':', '.'))
    purpose = search._replace(config=identity(config))._asdict()
    study = launch.open_study(default, purpose)
    study.work(search.plan)
    print(report(load(study.folder), search.domain))


if __name__ == '__main__':
    launch.launch(main)
