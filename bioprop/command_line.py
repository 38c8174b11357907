"""A command: its flags, and the one message in which it ends when something goes wrong."""

import functools
from collections.abc import Callable, Sequence

import jax
from absl import app, flags, logging

from bioprop.errors import UserError, fail, unknown
from bioprop.settings import config_file

DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Say what would be done, and do nothing.')


def run(
    main: Callable[[list[str]], None], choices: Sequence[str] = (), passes_on: bool = False
) -> None:
    """Runs main(argv); whatever goes wrong ends in one message and a non-zero exit.

    Where there are choices, the command takes one of them, which is argv[1]. With passes_on, the
    arguments after -- follow in argv, for another command.
    """

    def guarded(argv):
        try:
            main(argv)
        except UserError as error:
            fail(error, error.status)
        except OSError as error:
            fail(f'{error.filename or "disk"}: {error.strerror or error}. What was saved is kept.')
        except KeyboardInterrupt:
            fail('interrupted; run the same command to resume', status=130)
        except Exception:
            _check_devices()  # any use of JAX ends in an exception of some kind without one
            raise

    app.run(guarded, flags_parser=functools.partial(_parse, choices, passes_on))


def _check_devices() -> None:
    """Ends the program if JAX finds no device: JAX_PLATFORMS may name what is not there."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = f'JAX_PLATFORMS={jax.config.jax_platforms}' if jax.config.jax_platforms else 'JAX'
        fail(
            f'{asked} finds no device here ({str(error) or "its plugin is not installed"}). Set '
            "JAX_PLATFORMS=cpu, or install JAX for the hardware, such as pip install 'jax[cuda13]'"
        )


def _parse(choices: Sequence[str], passes_on: bool, argv: list[str]) -> list[str]:
    """Parses the flags, those of config keys too; ends the program if they are wrong."""
    end = argv.index('--') if passes_on and '--' in argv else len(argv)
    argv, others = argv[:end], argv[end + 1 :]
    logging.set_verbosity(logging.FATAL)  # what fails is said once, by `fail`
    try:
        config_file.declare(argv)
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        fail(error, status=2)
    if choices:
        if len(rest) != 2:
            fail(f'name one of: {", ".join(choices)}', status=2)
        if rest[1] not in choices:
            fail(unknown('choice', rest[1], choices), status=2)
        return rest + others
    if len(rest) > 1:
        fail(f'unexpected arguments {rest[1:]}; settings are given as --config.KEY=VALUE', status=2)
    return rest + others if passes_on else argv
