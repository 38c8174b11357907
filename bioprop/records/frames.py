"""Runs and their records as data frames, finished or still in training.

They need pandas, of the extra `experiments`.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprop.errors import UserError
from bioprop.records.earlier import by_todays_names
from bioprop.records.writers import Record, read_records

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def runs(folder: Path | str) -> 'pd.DataFrame':
    """A row for each run of a study's folder, or of a workdir.

    Columns are `name`, `folder` (its workdir, which a study that was passed on may lack),
    `finished`, `diverged`, `config` (the settings as one dictionary), the settings by their keys,
    and the scores of its summary, errors in percent,
    which are missing while it is in training. Lists are tuples. Raises UserError if the folder
    holds neither, or is damaged, or if there is no pandas.
    """
    return _frame('runs', _rows(Path(folder)), ['name', 'folder', 'finished', 'diverged', 'config'])


def records(folder: Path | str) -> 'pd.DataFrame':
    """A row for each line of metrics.jsonl of the runs that `runs` finds, with their `name`.

    Columns are `name`, `kind`, `step`, `epoch` and what the records hold: scores, diagnostics,
    seconds. What a kind of record lacks is missing in it. Raises UserError as `runs` does.
    """
    return records_of((row['name'], row['folder']) for row in _rows(Path(folder)))


def records_of(named: Iterable[tuple[str, Path]]) -> 'pd.DataFrame':
    """The same of the runs of these names and workdirs."""
    rows = [{'name': name} | record for name, folder in named for record in lines(folder)]
    return _frame('records', rows, ['name', 'kind', 'step', 'epoch'])


def lines(workdir: Path) -> list[Record]:
    """The records of a run."""
    return read_records(workdir / 'metrics.jsonl', math.inf)


def _frame(name: str, rows: list[Row], columns: list[str]) -> 'pd.DataFrame':
    try:
        import pandas as pd
    except ImportError as error:
        raise UserError(
            f"bioprop.records.{name} needs pandas: pip install -e '.[experiments]'"
        ) from error
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def _rows(folder: Path) -> list[Row]:
    return [_of_workdir(folder)] if (folder / 'config.json').exists() else _of_study(folder)


def _of_study(study: Path) -> list[Row]:
    path = study / 'results.jsonl'
    if not any((study / name).exists() for name in (path.name, 'study.json', 'runs')):
        raise UserError(
            f'{study} holds no study: it has neither results.jsonl nor runs/, nor a config.json of '
            'one run'
        )
    rows = {}
    try:
        for line in path.read_text().splitlines() if path.exists() else ():
            told = json.loads(line)
            workdir = study / 'runs' / told['run']
            rows[told['run']] = _row(workdir, by_todays_names(told['config']), told['summary'])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(f'{path} is damaged: delete it, and the runs are read from runs/') from None
    for config in sorted(study.glob('runs/*/config.json')):
        if config.parent.name not in rows:
            rows[config.parent.name] = _of_workdir(config.parent)
    return list(rows.values())


def config_of(workdir: Path) -> Row:
    """The configuration of a workdir's run. Raises UserError if there is none, or it is damaged."""
    path = workdir / 'config.json'
    if not path.exists():
        raise UserError(f'{workdir} holds no run: it has no config.json')
    try:
        return by_todays_names(read_json(path)['config'])
    except (KeyError, TypeError):
        raise UserError(f'{path} is damaged') from None


def _of_workdir(workdir: Path) -> Row:
    path = workdir / 'summary.json'
    return _row(workdir, config_of(workdir), read_json(path) if path.exists() else None)


def _row(workdir: Path, config: Row, summary: Row | None) -> Row:
    """Of a run whose summary is None while it is in training; settings come before scores."""
    settings = {key: _hashable(value) for key, value in config.items()}
    ended = summary or {}
    return {
        'name': workdir.name, 'folder': workdir, 'finished': summary is not None,
        'diverged': bool(ended.get('diverged')), 'config': config, **settings,
        **{key: value for key, value in ended.items() if key not in {*config, 'diverged'}},
    }  # fmt: skip


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def read_json(path: Path) -> Any:
    """What the file of a run or a study holds. Raises UserError if it is damaged."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError:
        raise UserError(f'{path} is damaged') from None
