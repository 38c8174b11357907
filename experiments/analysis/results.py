"""The runs of a study, read from its folder: finished, or still in training."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from bioprop.errors import UserError
from bioprop.records.writers import Record, read_records
from bioprop.studies.study import Config


class Run(NamedTuple):
    """A run of a study."""

    name: str
    config: Config
    summary: dict[str, Any] | None  # None while it is in training
    folder: Path  # its workdir, which a study that was passed on may lack

    @property
    def diverged(self) -> bool:
        """Whether it has ended so."""
        return bool(self.summary and self.summary['diverged'])

    def records(self) -> list[Record]:
        """Those of metrics.jsonl."""
        return read_records(self.folder / 'metrics.jsonl', math.inf)

    def provenance(self) -> dict[str, Any]:
        """Versions, commit and hardware; {} where the workdir is not there."""
        path = self.folder / 'config.json'
        content = _json(path) if path.exists() else {}
        return {key: content[key] for key in ('versions', 'commit', 'hardware') if key in content}


def load(study: Path) -> list[Run]:
    """The runs of a study. Raises UserError if the folder is none, or is damaged."""
    path = study / 'results.jsonl'
    if not any((study / name).exists() for name in (path.name, 'study.json', 'runs')):
        raise UserError(f'{study} holds no study: it has neither results.jsonl nor runs/')
    runs = {}
    try:
        for line in path.read_text().splitlines() if path.exists() else ():
            content = json.loads(line)
            name = content['run']
            runs[name] = Run(name, content['config'], content['summary'], study / 'runs' / name)
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(f'{path} is damaged: delete it, and the runs are read from runs/') from None
    for config in sorted(study.glob('runs/*/config.json')):
        if config.parent.name not in runs:
            runs[config.parent.name] = read(config.parent)
    return list(runs.values())


def read(workdir: Path) -> Run:
    """The run of a workdir. Raises UserError if it holds none."""
    config, summary = workdir / 'config.json', workdir / 'summary.json'
    if not config.exists():
        raise UserError(f'{workdir} holds no run: it has no config.json')
    try:
        told = _json(config)['config']
    except (KeyError, TypeError):
        raise UserError(f'{config} is damaged') from None
    return Run(workdir.name, told, _json(summary) if summary.exists() else None, workdir)


def purpose(study: Path) -> dict[str, Any]:
    """What the study is for, as its launcher said in study.json; {} where it did not."""
    path = study / 'study.json'
    return _json(path) if path.exists() else {}


def search_of(purpose: dict[str, Any]) -> dict[str, Any]:
    """The search that a study is for, or the first of its rows; {} where it tells none."""
    told = [purpose, *(row for row in purpose.values() if isinstance(row, dict))]
    return next((search for search in told if search.get('rungs')), {})


def was_searched(study: Path) -> bool:
    """Whether the rows of a study are searches, and their winners have seeds of their own."""
    return bool(search_of(purpose(study)))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError:
        raise UserError(f'{path} is damaged') from None
