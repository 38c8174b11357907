"""All rules of the catalogue on one panel, by one protocol.

python -m experiments.leaderboard --panel=mnist_fc

For every rule that the panel's nets can be trained by: a search of 12 configurations by halving,
over 9 epochs, then its winner on 3 seeds for 30, everything chosen on validation images. A rule
whose step takes more than 10 of backpropagation's is trained for so many epochs less: all have the
work of 300 epochs of backpropagation at most. Runs or resumes; any number of processes may work on
one --study, and a rule that comes to the catalogue later is added to it.
"""

import pandas as pd
from absl import flags

from bioprop.errors import UserError, unknown
from bioprop.records import runs as read_runs
from bioprop.records.writers import write_json, write_whole
from bioprop.rules import CATALOGUE
from bioprop.settings import paper
from bioprop.settings.resolve import make_rule, resolve
from bioprop.studies.search import Search, halving, together, wide
from bioprop.studies.study import Study, run_name
from experiments import launch
from experiments.analysis import leaders
from experiments.analysis.origins import made_with
from experiments.analysis.rows import placed
from experiments.benchmarks.nets import paper_net
from experiments.benchmarks.step import work_in_bp

PANELS = {
    'mnist_fc': ('mnist', 'fc'), 'fashion_mnist_fc': ('fashion_mnist', 'fc'),
    'mnist_lc': ('mnist', 'lc'), 'mnist_mini_fc': ('mnist_mini', 'fc'),
}  # fmt: skip
LOOKING = {'diagnostics': 'update', 'diagnostics_every': 540}

PANEL = flags.DEFINE_enum('panel', 'mnist_fc', sorted(PANELS), 'Data set and kind of net.')
ROWS = flags.DEFINE_list('rows', None, 'Rules to work on. Default: all that the panel takes.')
CONFIGURATIONS = flags.DEFINE_integer('configurations', 12, 'Of each search.', 1)
SEARCH_EPOCHS = flags.DEFINE_integer('search_epochs', 9, 'Of the last rung of a search.', 1)
EPOCHS = flags.DEFINE_integer('epochs', 30, 'Of the winners.', 1)
SEEDS = flags.DEFINE_integer('seeds', 3, 'Of each winner.', 1)
SETTINGS = flags.DEFINE_string('settings', '', 'key=value,... for the configs of all rows.')
flags.DEFINE_string('out', None, 'Path of the files .md and .json; default: in STUDY.')
flags.adopt_module_key_flags(launch)


def searches(names: list[str]) -> tuple[dict[str, Search], dict[str, float], dict[str, str]]:
    """By rule: its search, the work of its step in BP's, and why others cannot be trained here."""
    dataset, net = PANELS[PANEL.value]
    plans, work, refused = {}, {}, {}
    for name in names:
        settings = paper(dataset, name, SETTINGS.value, net=net, hyperparameters='tuned', **LOOKING)
        try:
            config = resolve(settings)
            work[name] = work_in_bp(name, paper_net(f'mnist_{net}'))
            plans[name] = search(config, leaders.share_of(work[name]))
        except UserError as error:
            refused[name] = str(error)
    return plans, work, refused


def search(config: dict, share: float) -> Search:
    """By the flags, in this share of their epochs."""
    tried, won = (max(1, round(share * n)) for n in (SEARCH_EPOCHS.value, EPOCHS.value))
    domain = wide(make_rule(config))
    return Search(config, domain, halving(CONFIGURATIONS.value, tried), SEEDS.value, won)


def planned(study: Study, plans: dict[str, Search]) -> pd.DataFrame:
    """The runs of the searches that have ended, in their rows."""
    stages = [stage for plan in plans.values() for stage in plan.stages(study.result)]
    names = {run_name(config) for stage in stages for config in stage}
    found = read_runs(study.folder)
    return placed(found[found['name'].isin(names)], searched=True)


def main(argv: list[str]) -> None:
    """Trains the rules, and writes their table."""
    chosen = ROWS.value or list(CATALOGUE)
    for name in chosen:
        if name not in CATALOGUE:
            raise unknown('rule', name, CATALOGUE)
    plans, work, refused = searches(chosen)
    protocol = (PANEL, CONFIGURATIONS, SEARCH_EPOCHS, EPOCHS, SEEDS, SETTINGS)
    study = launch.open_study(
        f'studies/leaderboard_{PANEL.value}', {flag.name: flag.value for flag in protocol}
    )
    study.work(together([plan.plan for plan in plans.values()]))
    runs = planned(study, plans)
    rows = leaders.rows(runs, work)
    out = launch.out(study.folder / 'leaderboard')
    content = {'command': launch.command('experiments.leaderboard', argv), **made_with(runs)}
    write_json(
        out.with_suffix('.json'),
        content | {'panel': PANEL.value, 'rows': rows, 'refused': refused},
    )
    write_whole(out.with_suffix('.md'), leaders.text(rows, 'github') + '\n')
    print(leaders.text(rows))


if __name__ == '__main__':
    launch.launch(main)
