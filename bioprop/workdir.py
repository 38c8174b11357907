"""The workdir of a run: what it was started with, and whether it may go on."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from bioprop.config import hparams
from bioprop.errors import UserError
from bioprop.writers import write_json

PACKAGES = ('bioprop', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
MOVABLE = ('data_dir',)  # keys that say where things are, not what is run


def provenance() -> dict[str, Any]:
    """The versions, the commit and the hardware that something was made with."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        'versions': {'python': platform.python_version()} | versions,
        'commit': _commit(),
        'hardware': hardware(),
    }


def hardware() -> str:
    """Devices, machine and usable cores in one line."""
    count, kind = jax.device_count(), jax.devices()[0].device_kind
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return f'{count} x {kind}, {platform.machine()}, {cores} core(s)'


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

    Before the first checkpoint any configuration may take the workdir over, and after a divergence
    other continuous hyperparameters may. Raises UserError if it holds another run.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / 'config.json'
    config = json.loads(json.dumps(config))  # as it will be read back: tuples become lists
    content = {'config': config, 'overrides': overrides, **provenance()}
    if path.exists():
        before = _read(path)
        old = before['config']
        keys = sorted(
            key for key in (config.keys() | old.keys()) - set(MOVABLE)
            if config.get(key) != old.get(key)
        )  # fmt: skip
        if not keys:
            return
        allowed = hparams(config) if _diverged(workdir) else ()
        if any(workdir.glob('checkpoints/[0-9]*')) and not set(keys) <= set(allowed):
            changes = '\n'.join(f'  {key}: {old.get(key)!r} -> {config.get(key)!r}' for key in keys)
            raise UserError(
                f'{workdir} holds a run with another configuration:\n{changes}\n'
                'Use another --workdir, or the configuration that it was started with.'
            )
        content['before'] = before
    write_json(path, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if isinstance(content['config'], dict):
            return content
    except (json.JSONDecodeError, KeyError, TypeError):
        pass
    raise UserError(f'{path} is damaged: restore it, or use another --workdir')


def _diverged(workdir: Path) -> bool:
    path = workdir / 'summary.json'
    return path.exists() and json.loads(path.read_text())['diverged']
