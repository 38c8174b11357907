"""The table of a study: of any, as it stands, or of one of the paper's.

python -m experiments.table --study=studies/mine

shows the rows of a study by their rules' labels, whatever they are. `table1` and `table2` are made
here: every row's search, its winner on several seeds, the table.
"""

import json
import math
from pathlib import Path

from absl import flags

from bioprop.errors import UserError, unknown
from bioprop.records.earlier import by_todays_names
from bioprop.records.paths import local
from bioprop.records.workdir import identity
from bioprop.records.writers import write_json, write_whole
from bioprop.settings.resolve import make_rule
from bioprop.studies.search import DOMAINS, RUNGS, Search, together
from bioprop.studies.study import Config, Study
from experiments import launch
from experiments.analysis import tables
from experiments.analysis.origins import made_with
from experiments.analysis.paper import row_configs
from experiments.analysis.rows import load

BUDGET = flags.DEFINE_float(
    'budget', 1.0, "Part of the paper's effort per row, 60 configurations x 500 epochs.", 0.0, 1.0
)
CONFIGURATIONS = flags.DEFINE_integer(
    'configurations', None, 'Of each row; 1: no search. Default: by the budget.', 1
)
EPOCHS = flags.DEFINE_integer('epochs', None, 'Of the winners. Default: by the budget.', 1)
SEARCH_EPOCHS = flags.DEFINE_integer('search_epochs', None, 'Default: those of the winners.', 1)
RUNGS_FLAG = flags.DEFINE_enum('rungs', None, sorted(RUNGS), 'How a search narrows down.')
DOMAIN = flags.DEFINE_enum('domain', 'wide', sorted(DOMAINS), 'What a search draws from.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Of each winner.', 1)
ROWS = flags.DEFINE_list('rows', None, 'Rows to work on, such as bp,dtp_alternating. Default: all.')
SETTINGS = flags.DEFINE_string('settings', '', 'key=value,... for the configs of all rows.')
WINNERS_OF = flags.DEFINE_string(
    'winners_of', None, 'JSON file of a table whose winning hyperparameters the rows start from.'
)
flags.DEFINE_string('out', None, 'Path of the files .md, .csv and .json; default: in STUDY.')


def searches(rows: dict[str, Config], rungs: str) -> dict[str, Search]:
    """The search of each row, by the flags."""
    scale = math.sqrt(BUDGET.value)
    configurations = CONFIGURATIONS.value or max(1, round(60 * scale))
    epochs = EPOCHS.value or max(1, round(500 * scale))
    narrowing = ()
    if configurations > 1:
        narrowing = RUNGS[rungs](configurations, SEARCH_EPOCHS.value or epochs)
    domain = DOMAINS[DOMAIN.value]
    return {
        name: Search(config, domain(make_rule(config)), narrowing, SEEDS.value, epochs)
        for name, config in rows.items()
    }


def started_from(rows: dict[str, Config], path: Path) -> dict[str, Config]:
    """The rows with the winning hyperparameters of another table. Raises UserError without any."""
    won = {row['name']: row['winner'] for row in json.loads(path.read_text())['rows']}
    for name in rows:
        if not won.get(name):
            raise UserError(f'{path} has no winner of {name}: leave it out by --rows')
    return {name: config | by_todays_names(won[name]) for name, config in rows.items()}


def make(
    program: str, argv: list[str], dataset: str, net: str, published: dict, rungs: str = 'full'
) -> None:
    """Works until the table is complete; prints it and writes its files.

    published has the paper's 'train' and 'test' errors by row.
    """
    rows = row_configs(dataset, net, SETTINGS.value)
    chosen = ROWS.value or list(rows)
    for name in chosen:
        if name not in rows:
            raise unknown('row', name, rows)
    if WINNERS_OF.value:
        rows = started_from(
            {name: rows[name] for name in chosen}, local(WINNERS_OF.value, '--winners_of')
        )
    planned = searches(rows, RUNGS_FLAG.value or rungs)
    purpose = {
        name: search._replace(config=identity(search.config))._asdict()
        for name, search in planned.items()
    }
    study = launch.open_study(f'studies/{program.split(".")[-1]}_{dataset}_{net}', purpose)
    study.work(together([planned[name].plan for name in chosen]))
    show(study, list(planned), published, launch.command(program, argv))


def show(study: Study, names: list[str], published: dict, line: str) -> None:
    """Prints the table of the rows that have runs, and writes .json, .csv and .md of it."""
    runs = load(study.folder)
    rows = tables.rows(runs, names, published)
    print(tables.page(rows), end='')
    out = launch.out(study.folder / 'table')
    content = {'command': line, **made_with(runs), 'rows': rows}
    write_json(out.with_suffix('.json'), content | {'differences': tables.contrasts(rows)})
    write_whole(out.with_suffix('.csv'), tables.as_csv(rows))
    write_whole(out.with_suffix('.md'), tables.page(rows, 'github'))


def main(argv: list[str]) -> None:
    """Shows the table of a study."""
    print(tables.page(tables.all_rows(load(launch.named_study()))), end='')


if __name__ == '__main__':
    launch.launch(main)
