"""What decides a run's numbers beside its configuration: code, data, and flags of JAX."""

import contextlib
import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import jax

PACKAGE = Path(__file__).parents[1]
FLAGS = (
    'jax_enable_x64', 'jax_default_prng_impl', 'jax_threefry_partitionable',
    'jax_default_matmul_precision',
)  # fmt: skip


def conditions(config: dict[str, Any], data: dict[str, Any] | None) -> dict[str, Any]:
    """Of a configuration on data of that identity, for JSON.

    'package' is a digest of bioprop itself, of which a run may go on with another.
    """
    return {
        'package': _digest(sorted(PACKAGE.rglob('*.py'))),
        'code': own_code(config),
        'data': data,
        'flags': {name: getattr(jax.config, name) for name in FLAGS},
    }


def own_code(config: dict[str, Any]) -> dict[str, str]:
    """A digest of each module of the user's own that a configuration's rule and net are made of."""
    names = [config[key].rpartition(':')[0] for key in ('rule', 'net')]
    return {
        module: _digest([path]) for module, path in sorted(_sources(filter(None, names)).items())
    }


def _sources(names: Iterable[str]) -> dict[str, Path]:
    """The files of modules and of what they import, but for bioprop and installed packages."""
    finder = ModuleFinder(list(filter(_own, sys.path)), excludes=['bioprop'])
    files = {}
    for name in names:
        files[name] = importlib.import_module(name).__dict__.get('__file__')
        with contextlib.suppress(ImportError):  # it is installed
            finder.import_hook(name)
    files |= {name: module.__file__ for name, module in finder.modules.items()}
    return {name: Path(file) for name, file in files.items() if file}


def _own(entry: str) -> bool:
    """Whether a folder of sys.path holds neither installed packages nor Python's own."""
    installed = map(sysconfig.get_path, ('stdlib', 'platstdlib', 'purelib', 'platlib'))
    return not entry.endswith('.zip') and not any(entry.startswith(each) for each in installed)


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
