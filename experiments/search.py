"""Random search over the hyperparameters of one rule, then its winner on several seeds.

python -m experiments.search --config=configs/mnist_dtp.py:schedule=alternating --configurations=60

config.epochs is what the winner is trained for. Every choice is by validation error. Each run that
ends is in STUDY/results.jsonl; the same command again resumes, and any number of processes may
work on one study at once.
"""

from pathlib import Path

from absl import flags
from tabulate import tabulate

from bioprop.records.workdir import identity
from bioprop.settings import config_file
from bioprop.settings.resolve import make_rule, resolve
from bioprop.studies.search import DOMAINS, RUNGS, Search, rank
from bioprop.studies.study import Study
from experiments import launch
from experiments.analysis.tables import spread

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


def report(study: Study, search: Search) -> str:
    """The trials of the last rung, best first, and the winner over its seeds."""
    *rungs, winners = search.stages(study.result)
    trials = rungs[-1]
    results = [study.result(config) for config in trials]
    measure = 'error' if 'validation_error' in results[0] else 'loss'
    lines = [
        {
            'validation': results[place][f'validation_{measure}'],
            'diverged': results[place]['diverged'],
        }
        | {name: trials[place][name] for name in search.domain if trials[place].get(name)}
        for place in rank(results)[:10]
    ]
    scores = (f'train_{measure}', f'validation_{measure}', f'test_{measure}_at_best_validation')
    found = {name: spread([study.result(config)[name] for config in winners]) for name in scores}
    unit = ' (%)' if measure == 'error' else ''
    shown = [
        (
            f'{name}{unit}',
            'all diverged' if value is None else f'{value.mean:.4g} ± {value.deviation:.2g}',
        )
        for name, value in found.items()
    ]
    return '\n\n'.join([
        tabulate(lines, headers='keys', floatfmt='.3g', missingval='-'),
        tabulate(shown, headers=('winner', f'mean ± deviation of {len(winners)} seeds')),
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
    print(report(study, search))


if __name__ == '__main__':
    launch.launch(main)
