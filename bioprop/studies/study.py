"""Studies: many runs in one folder, shared out among any number of processes.

A study's plan is a pure function of the results so far. It names the configurations that may be
trained now, and none when the study is complete, so that a killed process loses nothing but time
and every process that is given the same folder does a share of the same work.

    results.jsonl           a line for each finished run: its configuration and its summary
    runs/NAME/              a workdir for each configuration (see `bioprop.records.workdir`)
    populations/NAME/       members.json, a lock, and the checkpoint of those in training

The locks are the kernel's (flock): they end with the process that holds them.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bioprop.errors import UserError
from bioprop.records import earlier
from bioprop.records.frames import read_json
from bioprop.records.locks import locked
from bioprop.records.workdir import digest, identity, summary_of
from bioprop.records.writers import write_json, write_whole
from bioprop.running.population import members_that_fit, program_of, train_population
from bioprop.running.train import Diverged, train

Config = dict[str, Any]
Result = Callable[[Config], dict[str, Any] | None]  # the summary of a run; None before its end
Plan = Callable[[Result], Iterable[Config]]

POLL_SECONDS = 0.5
CHANGES = 8  # settings that a refusal names
MEMBERS = 32  # of a population, unless memory sets a lower bound


def run_name(config: Config) -> str:
    """The name of a configuration's workdir: equal configurations are one run."""
    names = (str(config[key]) for key in ('rule', 'schedule', 'net'))
    return '_'.join((*names, digest(identity(config))[:12])).replace(':', '.')


class Study:
    """The folder of a study. `purpose` is what it is for, and must be the same in each process.

    Raises UserError if the folder holds another study.
    """

    def __init__(self, folder: Path, purpose: dict[str, Any], members: int = MEMBERS):
        self.folder = folder
        self._members = members
        self._results = {}
        (folder / 'populations').mkdir(parents=True, exist_ok=True)
        purpose = json.loads(json.dumps(purpose))
        path = folder / 'study.json'
        with locked(folder / 'lock'):
            if not path.exists():
                write_json(path, purpose)
        try:
            earlier.refuse(path)
            found = json.loads(path.read_text())
        except ValueError:
            raise UserError(f'{path} is damaged: restore it, or use another folder') from None
        if found != purpose:
            raise UserError(
                f'{folder} holds another study, with other settings:\n'
                f'{_changes(found, purpose)}\n'
                'Use another --study, or the settings that it was started with.'
            )

    def workdir(self, config: Config) -> Path:
        """Where the run of a configuration leaves its records."""
        return self.folder / 'runs' / run_name(config)

    def result(self, config: Config) -> dict[str, Any] | None:
        """The summary of a finished run."""
        name = run_name(config)
        if name not in self._results:
            summary = summary_of(self.workdir(config), config)
            if summary is None:
                return None
            self._results[name] = summary
        return self._results[name]

    def work(self, plan: Plan) -> None:
        """Trains what the plan asks for, in populations, until it asks for nothing more.

        What other processes have in training is waited for; if they die, it is taken over.
        """
        while True:
            open_runs = self._open(plan)
            with contextlib.ExitStack() as stack:
                # Also with nothing open: who died between its summaries and results.jsonl.
                folder = self._claim(open_runs, stack)
                if folder:
                    self._train(folder)
                elif open_runs:
                    time.sleep(POLL_SECONDS)
                else:
                    return

    def _open(self, plan: Plan) -> list[Config]:
        """Unfinished runs, each once however often the plan names it."""
        asked = {run_name(config): config for config in plan(self.result)}
        return [config for config in asked.values() if self.result(config) is None]

    def _claim(self, open_runs: list[Config], stack: contextlib.ExitStack) -> Path | None:
        """A population to train, locked until the stack closes: an abandoned one, or a new one."""
        with locked(self.folder / 'lock'):
            taken = set()
            for folder in sorted((self.folder / 'populations').iterdir()):
                if _done(folder) or not (folder / 'members.json').exists():
                    continue
                if not stack.enter_context(locked(folder / 'lock', wait=False)):
                    taken |= {run_name(config) for config in _members(folder)}
                elif not _done(folder):  # it may have been in its last moments just now
                    return folder
            free = [config for config in open_runs if run_name(config) not in taken]
            # Another process may have ended a run since the plan was made.
            free = [config for config in free if self.result(config) is None]
            if not free:
                return None
            program = program_of(free[0])
            alike = [config for config in free if program_of(config) == program]
            members = alike[: min(self._members, members_that_fit(free[0]))]
            name = digest(' '.join(map(run_name, members)))[:12]
            folder = self.folder / 'populations' / name
            folder.mkdir(exist_ok=True)
            stack.enter_context(locked(folder / 'lock'))
            (folder / 'done').unlink(missing_ok=True)
            write_json(folder / 'members.json', members)
            return folder

    def _train(self, folder: Path) -> None:
        members = _members(folder)
        workdirs = [self.workdir(config) for config in members]
        if members[0]['image_size']:
            _train_alone(members, workdirs)
        else:
            train_population(members, workdirs, folder)
        with locked(self.folder / 'lock'):
            write_whole(self.folder / 'results.jsonl', _results(self.folder))
        (folder / 'done').touch()
        shutil.rmtree(folder / 'checkpoints', ignore_errors=True)  # those alone have none here


def purpose_of(folder: Path) -> dict[str, Any]:
    """What a study is for; {} if it does not say. Raises UserError if study.json is damaged."""
    path = folder / 'study.json'
    return read_json(path) if path.exists() else {}


def _changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs between two purposes: a line for each setting, of the first few."""
    old, new = dict(_settings(old)), dict(_settings(new))
    lines = [
        f'  {name}: {old.get(name, "nothing")} -> {new.get(name, "nothing")}'
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    rest = [f'  and {len(lines) - CHANGES} more'] if len(lines) > CHANGES else []
    return '\n'.join(lines[:CHANGES] + rest)


def _settings(tree: Any, path: tuple[str, ...] = ()) -> Iterable[tuple[str, str]]:
    """The leaves of what JSON holds, as JSON, by their paths; a list of values is one."""
    if isinstance(tree, list) and any(isinstance(value, dict) for value in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        yield '.'.join(path), json.dumps(tree)
        return
    for key, value in tree.items():
        yield from _settings(value, (*path, str(key)))


def _train_alone(members: list[Config], workdirs: list[Path]) -> None:
    """One after another: sets that are read from disk have no populations. Keeps no weights."""
    for config, workdir in zip(members, workdirs, strict=True):
        with contextlib.suppress(Diverged):  # its summary says so
            train(config, workdir, [])
        shutil.rmtree(workdir / 'checkpoints')


def _done(folder: Path) -> bool:
    return (folder / 'done').exists()


def _members(folder: Path) -> list[Config]:
    return json.loads((folder / 'members.json').read_text())


def _results(folder: Path) -> str:
    lines = []
    for path in sorted(folder.glob('runs/*/summary.json')):
        config = json.loads((path.parent / 'config.json').read_text())['config']
        content = {
            'run': path.parent.name,
            'config': config,
            'summary': json.loads(path.read_text()),
        }
        lines.append(json.dumps(content) + '\n')
    return ''.join(lines)
