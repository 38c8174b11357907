"""What a run was made with: versions, commit, hardware."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

PACKAGES = ('bioprop', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


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
