"""The configuration of a command line, without a program."""

from absl import flags

from bioprop.settings import config_file


def configured(*arguments):
    """What `bioprop.settings.config_file` makes of the arguments."""
    values, argv = flags.FlagValues(), ['bioprop', *map(str, arguments)]
    config_file.define(values)
    config_file.declare(argv, values)
    values(argv)
    return config_file.configuration(values)
