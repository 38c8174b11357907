"""The workdir of a run: what it was started with, and whether it may go on."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from bioprop.errors import UserError
from bioprop.writers import write_json

PACKAGES = ('bioprop', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
# Keys that do not change what is run.
MOVABLE = (
    'data_dir', 'checkpoint_seconds', 'parallel', 'accumulate', 'diagnostics', 'diagnostics_every',
)  # fmt: skip
ABANDONED = 'abandoned-'


def provenance() -> dict[str, Any]:
    """The versions, the commit and the hardware that something was made with."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        'versions': {'python': platform.python_version()} | versions,
        'commit': _commit(),
        'hardware': hardware(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> str:
    """Devices, machine and usable cores in one line."""
    count, kind = jax.device_count(), jax.devices()[0].device_kind
    return f'{count} x {kind}, {platform.machine()}, {cores()} core(s)'


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def _commit() -> str | None:
    """The commit of the source tree, '+' added if it has changes; None outside a checkout."""
    describe = ('git', 'describe', '--always', '--abbrev=40', '--dirty=+', '--exclude=*')
    try:
        return subprocess.run(
            describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def open_workdir(workdir: Path, config: dict[str, Any], overrides: list[str]) -> None:
    """Makes the workdir and its config.json, or checks that it holds this very run.

    Another configuration may take the workdir over if the run in it diverged or never saved a
    checkpoint; what that run left is then moved to a folder of its own. Raises UserError if the
    workdir holds another run.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / 'config.json'
    config = json.loads(json.dumps(config))  # as it will be read back: tuples become lists
    if path.exists():
        old = _read(path, 'config', dict)
        keys = sorted(
            key for key in (config.keys() | old.keys()) - set(MOVABLE)
            if config.get(key) != old.get(key)
        )  # fmt: skip
        if not keys:
            return
        if _saved(workdir) and not diverged(workdir):
            changes = '\n'.join(f'  {key}: {old.get(key)!r} -> {config.get(key)!r}' for key in keys)
            raise UserError(
                f'{workdir} holds a run with another configuration:\n{changes}\n'
                'Use another --workdir, or the configuration that it was started with.'
            )
        _move_aside(workdir)
    write_json(path, {'config': config, 'overrides': overrides, **provenance()})


def _move_aside(workdir: Path) -> None:
    """Moves all that a run left into abandoned-1, abandoned-2, ..."""
    left = [path for path in workdir.iterdir() if not path.name.startswith(ABANDONED)]
    number = 1 + sum(1 for _ in workdir.glob(f'{ABANDONED}*'))
    folder = workdir / f'{ABANDONED}{number}'
    folder.mkdir()
    for path in left:
        path.rename(folder / path.name)


def _read(path: Path, key: str, kind: type) -> Any:
    try:
        value = json.loads(path.read_text())[key]
    except (json.JSONDecodeError, KeyError, TypeError):
        value = None
    if not isinstance(value, kind):
        raise UserError(f'{path} is damaged: restore it, or use another --workdir')
    return value


def _saved(workdir: Path) -> bool:
    return any(path.name.isdigit() for path in workdir.glob('checkpoints/*'))


def diverged(workdir: Path) -> bool:
    """Whether the run in it has ended so."""
    path = workdir / 'summary.json'
    return path.exists() and _read(path, 'diverged', bool)
