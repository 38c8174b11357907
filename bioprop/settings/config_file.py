"""The flag --config=FILE:ARGUMENTS, and --config.KEY=VALUE beside it."""

import inspect
import os
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from bioprop.errors import UserError, told, unknown
from bioprop.settings.keys import Config, override, whole

flags.disclaim_key_flags()  # they are of the program that calls `define`
PREFIX = 'config.'


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """The program takes a config file."""
    text = 'Config file, FILE.py or FILE.py:KEY=VALUE,KEY=VALUE.'
    flags.DEFINE_string('config', '', text, flag_values=values)


def declare(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """A flag for each KEY of the arguments, before they are parsed; given twice, the last holds."""
    for argument in values.read_flags_from_files(argv[1:], force_gnu=False):
        name = argument.lstrip('-').partition('=')[0]
        if 'config' in values and name.startswith(PREFIX) and name not in values:
            flags.DEFINE_string(name, None, 'A key of the configuration.', flag_values=values)


def configuration(values: flags.FlagValues = flags.FLAGS) -> Config:
    """What the parsed flags say. Raises UserError as `read` does."""
    given = sorted(name for name in values if name.startswith(PREFIX))
    changes = {name.removeprefix(PREFIX): values[name].value for name in given}
    return read(values['config'].value, changes)


def read(name: str, changes: Mapping[str, str]) -> Config:
    """The configuration of FILE or FILE:ARGUMENTS, changed by the texts of some keys.

    Raises UserError if the file is none, fails, or returns no configuration.
    """
    path, colon, arguments = name.partition(':')
    get_config = load(path).get('get_config')
    given = [arguments] if colon else []
    _check(path, get_config, given)
    found = call(path, get_config, *given)
    if not isinstance(found, dict | ConfigDict):
        raise UserError(
            f'get_config() of {path} must return bioprop.settings.paper(...), or a dictionary of '
            f'keys, not {found!r}'
        )
    config = (found if isinstance(found, Config) else whole(found)).unlock()
    for key, text in changes.items():
        override(config, key, text)
    return config


def load(path: str) -> dict[str, Any]:
    """What the config file defines. Raises UserError if it is no file, or fails."""
    if not path:
        raise UserError('name a config file, such as --config=configs/mnist_bp.py')
    path = os.path.expanduser(path)
    if Path(path).is_dir():
        raise UserError(f'--config={path} is a folder: name a config file in it')
    if not Path(path).is_file():
        raise unknown('config file', path, map(str, Path(path).parent.glob('*.py')))
    return call(path, runpy.run_path, path)


def call(path: str, function: Callable, *arguments: Any) -> Any:
    """function(*arguments), of that config file. Raises UserError for an exception of its own."""
    try:
        return function(*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f'config file {path} fails: {told(error)}') from error


def _check(path: str, get_config: Any, arguments: Sequence[str]) -> None:
    if not callable(get_config):
        raise UserError(f'{path} has no function get_config(): it returns the configuration')
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        given = f'what follows the colon, {arguments[0]!r}' if arguments else 'nothing'
        raise UserError(
            f'get_config() of {path} cannot be called with {given} ({error}): write def '
            "get_config(arguments=''), and hand arguments on to paper()"
        ) from None
