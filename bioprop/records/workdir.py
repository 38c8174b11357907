"""The workdir of a run: what it was started with, and whether it may go on."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioprop.errors import UserError, say
from bioprop.records import earlier
from bioprop.records.conditions import conditions, own_code
from bioprop.records.locks import owned
from bioprop.records.provenance import provenance
from bioprop.records.writers import write_json

# Keys that do not change what is run.
MOVABLE = (
    'data_dir', 'checkpoint_seconds', 'parallel', 'accumulate', 'diagnostics', 'diagnostics_every',
    'wandb_project',
)  # fmt: skip
ABANDONED = 'abandoned-'
NEEDED = {'config.json': 'config', 'summary.json': 'diverged'}  # what a whole file has


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what does not change its run."""
    return {key: value for key, value in config.items() if key not in MOVABLE}


def default_workdir(config: dict[str, Any]) -> Path:
    """runs/..., of its own for each configuration and each state of the user's own code.

    The number of epochs is no part of it: a run may be made longer.
    """
    names = (config[name] for name in ('dataset', 'net', 'rule', 'schedule', 'seed'))
    told = [identity(config) | {'epochs': None}, own_code(config)]
    name = '_'.join((*map(str, names), digest(told)[:6]))
    return Path('runs', name.replace(':', '.'))


def digest(content: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def opened(
    workdir: Path,
    config: dict[str, Any],
    overrides: list[str],
    data: dict[str, Any] | None,
    checkpoints: Path,
) -> Iterator[None]:
    """Owns the workdir, whose config.json is made, or checked: it holds this very run.

    data is the identity of the data set, `checkpoints` the folder of the run's, or of the
    population that it belongs to. Another run may take the workdir over if the one in it never
    saved a checkpoint, or diverged by itself; what that run left is moved to a folder of its own.
    The epochs of a run may grow. Raises UserError if the workdir is in use, or holds another run.
    """
    with owned(workdir):
        told = {'config': config, 'overrides': overrides, **conditions(config, data)}
        told = json.loads(json.dumps(told | provenance()))  # as it will be read back
        _admit(workdir, told, checkpoints)
        yield


def _admit(workdir: Path, new: dict[str, Any], checkpoints: Path) -> None:
    path, saved = workdir / 'config.json', _saved(checkpoints)
    if not path.exists():
        if saved or (workdir / 'metrics.jsonl').exists():
            raise UserError(
                f'{path} is lost, but a run is there: restore it, or use another --workdir'
            )
        write_json(path, new)
        return
    earlier.refuse(path)
    old = _read(path)
    changes = _changes(old, new)
    if not changes:
        _go_on(workdir, old, new)
    elif not saved or (checkpoints.parent == workdir and diverged(workdir)):
        _move_aside(workdir)
        write_json(path, new)
    else:
        lines = '\n'.join(f'  {name}: {was!r} -> {now!r}' for name, (was, now) in changes.items())
        raise UserError(
            f'{workdir} holds a run with another configuration, code, data or flags:\n{lines}\n'
            'Use another --workdir, or what it was started with.'
        )


def _changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What decides a run's numbers and is not what it was: {name: (old, new)}."""
    was, now = _deciding(old), _deciding(new)
    if 'flags' not in old:  # it began before these were recorded
        now = {name: now[name] for name in new['config'] if name in now}
    changes = {
        name: (was.get(name), now.get(name))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    }
    if was['epochs'] < now['epochs']:
        del changes['epochs']
    return changes


def _deciding(told: dict[str, Any]) -> dict[str, Any]:
    data = told.get('data') or {}
    return {
        **identity(told['config']),
        **{f'data {name}': value for name, value in data.items()},
        **{f'code of {name}': value for name, value in told.get('code', {}).items()},
        **told.get('flags', {}),
    }


def _go_on(workdir: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Says and records that a run is made longer, or goes on with other libraries."""
    continued = old.get('continued', [])
    last = {'package': new['package'], **old, **(continued[-1] if continued else {})}
    made = {part: new[part] for part in ('package', 'versions', 'commit', 'hardware')}
    before, after = old['config']['epochs'], new['config']['epochs']
    renewed = [part for part in ('package', 'versions') if last[part] != new[part]]
    if renewed:
        say(
            f'{workdir}: goes on with another bioprop, JAX or library than before '
            f'({_made(last)} -> {_made(new)})'
        )
    if before < after:
        say(f'{workdir}: its {before} epochs become {after}')
        (workdir / 'summary.json').unlink(missing_ok=True)
    if renewed or before < after:
        config = old['config'] | {'epochs': after}
        changed = {'config': config, 'overrides': new['overrides'], 'continued': [*continued, made]}
        write_json(workdir / 'config.json', old | changed)


def _made(told: dict[str, Any]) -> str:
    return f'commit {told["commit"]}, JAX {told["versions"]["jax"]}'


def summary_of(workdir: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Of a run of this configuration; None before its end.

    Raises UserError if code of the user's own has changed since it was trained.
    """
    path = workdir / 'summary.json'
    if not path.exists():
        return None
    code = own_code(config)
    if code and _read(workdir / 'config.json').get('code', code) != code:
        raise UserError(
            f'{workdir} was trained with other code of {", ".join(code)}: put that back, or use '
            'another folder'
        )
    return json.loads(path.read_text())


def _move_aside(workdir: Path) -> None:
    """Moves all that a run left into abandoned-1, abandoned-2, ..."""
    left = [path for path in workdir.iterdir() if not path.name.startswith((ABANDONED, 'lock'))]
    number = 1 + sum(1 for _ in workdir.glob(f'{ABANDONED}*'))
    folder = workdir / f'{ABANDONED}{number}'
    folder.mkdir()
    for path in left:
        path.rename(folder / path.name)


def _read(path: Path) -> dict[str, Any]:
    """What a JSON file of a run holds. Raises UserError if it is damaged."""
    try:
        value = json.loads(path.read_text())
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or NEEDED[path.name] not in value:
        raise UserError(f'{path} is damaged: restore it, or use another --workdir')
    return value


def _saved(checkpoints: Path) -> bool:
    return any(path.name.isdigit() for path in checkpoints.glob('*'))


def diverged(workdir: Path) -> bool:
    """Whether the run in it has ended so."""
    path = workdir / 'summary.json'
    return path.exists() and bool(_read(path)['diverged'])
