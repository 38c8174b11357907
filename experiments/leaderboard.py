"""All rules of the catalogue on one panel, by one protocol.

python -m experiments.leaderboard --panel=mnist_fc

For every rule that the panel's nets can be trained by: a search of 12 configurations by halving,
over 9 epochs, then its winner on 3 seeds for 30, everything chosen on validation images. A rule
whose step takes more than 10 of backpropagation's is trained for so many epochs less: all have the
work of 300 epochs of backpropagation at most. Runs or resumes; any number of processes may work on
one --study, and a rule that comes to the catalogue later is added to it.

    --finished    trains nothing: the table of the rules that have been run to their end
    --report      trains nothing: the page of all panels, of the tables in results/
"""

from pathlib import Path

import pandas as pd
from absl import flags

from bioprop.errors import UserError
from bioprop.records import runs as read_runs
from bioprop.records.paths import local
from bioprop.records.writers import write_json, write_whole
from bioprop.rules import catalogue
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
from experiments.pages import leaderboard

ROOT, PAGE = Path(__file__).parents[1], 'leaderboard.html'
PANELS = {
    'mnist_fc': ('mnist', 'fc'), 'fashion_mnist_fc': ('fashion_mnist', 'fc'),
    'mnist_lc': ('mnist', 'lc'), 'mnist_mini_fc': ('mnist_mini', 'fc'),
}  # fmt: skip
UNFINISHED = 'not run to its end'
LOOKING = {'diagnostics': 'update', 'diagnostics_every': 540}

PANEL = flags.DEFINE_enum('panel', 'mnist_fc', sorted(PANELS), 'Data set and kind of net.')
ROWS = flags.DEFINE_list('rows', None, 'Rules to work on. Default: all that the panel takes.')
CONFIGURATIONS = flags.DEFINE_integer('configurations', 12, 'Of each search.', 1)
SEARCH_EPOCHS = flags.DEFINE_integer('search_epochs', 9, 'Of the last rung of a search.', 1)
EPOCHS = flags.DEFINE_integer('epochs', 30, 'Of the winners.', 1)
SEEDS = flags.DEFINE_integer('seeds', 3, 'Of each winner.', 1)
SETTINGS = flags.DEFINE_string('settings', '', 'key=value,... for the configs of all rows.')
FINISHED = flags.DEFINE_bool('finished', False, 'Train nothing: the table of what has ended.')
REPORT = flags.DEFINE_bool('report', False, 'Train nothing: the page of the tables in --results.')
RESULTS = flags.DEFINE_string('results', str(ROOT / 'results'), 'Folder of leaderboard_PANEL.json.')
flags.DEFINE_string('out', None, f'Path of .md and .json, by default in STUDY; or of docs/{PAGE}.')
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


def ended(study: Study, plan: Search) -> bool:
    """Whether its winner has been trained, too."""
    return all(study.result(config) is not None for config in plan.plan(study.result))


def planned(study: Study, plans: dict[str, Search]) -> pd.DataFrame:
    """The runs of the searches that have ended, in their rows."""
    stages = [stage for plan in plans.values() for stage in plan.stages(study.result)]
    names = {run_name(config) for stage in stages for config in stage}
    found = read_runs(study.folder)
    return placed(found[found['name'].isin(names)], searched=True)


def main(argv: list[str]) -> None:
    """Writes the page, or the table of the rules once they are trained."""
    report() if REPORT.value else table(argv)


def table(argv: list[str]) -> None:
    """Trains the rules, and writes their table."""
    chosen = ROWS.value or list(catalogue.CATALOGUE)
    catalogue.check(chosen)
    plans, work, refused = searches(chosen)
    protocol = (PANEL, CONFIGURATIONS, SEARCH_EPOCHS, EPOCHS, SEEDS, SETTINGS)
    study = launch.open_study(
        f'studies/leaderboard_{PANEL.value}', {flag.name: flag.value for flag in protocol}
    )
    if not FINISHED.value:
        study.work(together([plan.plan for plan in plans.values()]))
    done = {name: plan for name, plan in plans.items() if ended(study, plan)}
    if not done:
        raise UserError(f'{study.folder} has no rule that has been run to its end')
    refused |= {name: UNFINISHED for name in plans if name not in done}
    runs = planned(study, done)
    rows = leaders.rows(runs, work)
    out = launch.out(study.folder / 'leaderboard')
    content = {'command': launch.command('experiments.leaderboard', argv), **made_with(runs)}
    write_json(
        out.with_suffix('.json'),
        content | {'panel': PANEL.value, 'rows': rows, 'refused': refused},
    )
    write_whole(out.with_suffix('.md'), leaders.text(rows, 'github') + '\n')
    print(leaders.text(rows))


def report() -> None:
    """Writes the page."""
    path = launch.out(ROOT / 'docs' / PAGE)
    write_whole(path, leaderboard.page(local(RESULTS.value, '--results')))
    print(path)


if __name__ == '__main__':
    launch.launch(main)
