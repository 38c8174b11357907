"""Trains every entry of a config file's sweep: those that share a program as populations.

python -m experiments.sweep --config=configs/auxiliary_units.py

Beside get_config() the file has sweep(), which returns a list of dictionaries: the keys of the
config that an entry changes, with their values. --config.KEY=VALUE holds for all entries. The
same command again resumes, and any number of processes may work on one study at once. The
table at the end has means and standard deviations over seeds, and stands in STUDY/table.md and
table.json too. With --commands nothing is trained: the command of each entry is printed, for a
cluster's scheduler.
"""

import shlex
from pathlib import Path
from typing import Any

from absl import flags

from bioprop.errors import UserError
from bioprop.records import runs
from bioprop.records.writers import write_json, write_whole
from bioprop.settings import config_file
from bioprop.settings.keys import Config as Settings
from bioprop.settings.keys import plain, with_rule
from bioprop.settings.resolve import resolve
from bioprop.studies.study import Config, Study, identity, run_name
from experiments import launch
from experiments.analysis import averages
from experiments.analysis.origins import made_with

config_file.define()
COMMANDS = flags.DEFINE_bool('commands', False, 'Only print the commands.')
flags.adopt_module_key_flags(launch)

Entry = dict[str, Any]


def entries(path: Path) -> list[Entry]:
    """What the config file's sweep() returns. Raises UserError if it is not a list of dicts."""
    sweep = config_file.load(str(path)).get('sweep')
    if not callable(sweep):
        raise UserError(
            f'{path} has no sweep(): give it a function that returns a list of dictionaries, '
            "[{'lr': 1e-4}, {'lr': 1e-3}]"
        )
    found = config_file.call(str(path), lambda: list(sweep() or ()))
    if not found or not all(isinstance(entry, dict) for entry in found):
        raise UserError(f'sweep() of {path} must return a list of dictionaries')
    return plain(found)


def changed(config: Settings, entry: Entry) -> Config:
    """The resolved configuration of an entry. Raises UserError for a key or value that is wrong."""
    config = with_rule(config, entry.get('rule', config.rule))
    for key, value in entry.items():
        config[key] = value
    return resolve(config)


def commands(argv: list[str], found: list[Entry], configs: list[Config]) -> list[str]:
    """The command line of each entry's run alone."""
    given = [argument for argument in argv[1:] if argument.startswith('--config')]
    return [
        shlex.join([
            'python', '-m', 'bioprop.main', *given,
            *(f'--config.{key}={value}' for key, value in entry.items()),
            f'--workdir=runs/{run_name(config)}',
        ])
        for entry, config in zip(found, configs, strict=True)
    ]  # fmt: skip


def show(study: Study, found: list[Entry], configs: list[Config], line: str) -> None:
    """Prints the table of a finished sweep, and writes it into the study."""
    ended = runs(study.folder)
    names = list(map(run_name, configs))
    angles = averages.angles(ended[ended['name'].isin(names)])
    records = averages.averages(found, names, ended, angles)
    print(averages.text(records))
    content = {'command': line, **made_with(ended), 'averages': records}
    write_json(study.folder / 'table.json', content)
    write_whole(study.folder / 'table.md', averages.text(records, 'github') + '\n')


def main(argv: list[str]) -> None:
    """Trains the entries, or prints their commands."""
    path, config = Path(flags.FLAGS.config.partition(':')[0]), config_file.configuration()
    found = entries(path)
    configs = [changed(config, entry) for entry in found]
    if COMMANDS.value:
        print('\n'.join(commands(argv, found, configs)))
        return
    study = launch.open_study(
        f'studies/{path.stem}', {'sweep': [identity(config) for config in configs]}
    )
    study.work(lambda result: configs)
    show(study, found, configs, launch.command('experiments.sweep', argv))


if __name__ == '__main__':
    launch.launch(main)
