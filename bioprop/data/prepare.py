"""Prepares data sets once, with tensorflow-datasets' own builders. Training reads the result.

    pip install -e '.[prepare]'
    python -m bioprop.data.prepare mnist cifar10

Each set is downloaded, checked and written as array_record files, which bioprop then reads without
TensorFlow. A set that is there already is left alone. Several sets may be named; any image
classification set of tensorflow-datasets will do.

A machine without a network, or a set that must be fetched by hand (imagenet2012): put the original
files in one folder, named as their publisher names them, and give --manual_dir=FOLDER. Or prepare
on another machine and copy the folder that is printed.
"""

import errno
import importlib.util
import os
import urllib.error
from collections.abc import Iterator

import tensorflow_datasets as tfds
from absl import app, flags, logging

from bioprop.data import tfds_arrays
from bioprop.errors import UserError, fail

DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Where the prepared sets go. Default: $TFDS_DATA_DIR, or else ~/tensorflow_datasets.',
)
DOWNLOAD_DIR = flags.DEFINE_string(
    'download_dir', None, 'Where the original files go. Default: DATA_DIR/downloads.'
)
MANUAL_DIR = flags.DEFINE_string(
    'manual_dir',
    None,
    'Where original files fetched by hand lie; they are used in place of a download. '
    'Default: DOWNLOAD_DIR/manual.',
)

EXAMPLE = 'python -m bioprop.data.prepare mnist cifar10'
MOST_FILES = 8  # original files listed in a message


def main(argv: list[str]) -> None:
    """Prepares the sets named on the command line; ends the program with a message if it cannot."""
    try:
        prepare(argv[1:], DATA_DIR.value, DOWNLOAD_DIR.value, MANUAL_DIR.value)
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        fail('interrupted; run the same command again, files already downloaded are kept', 130)


def prepare(
    names: list[str],
    data_dir: str | None = None,
    download_dir: str | None = None,
    manual_dir: str | None = None,
) -> None:
    """Prepares each named set that is not there yet, and says where they are.

    Raises UserError, before anything is downloaded, for an unknown set or without TensorFlow.
    """
    if not names:
        raise UserError(f'no data set named; for example: {EXAMPLE}')
    names = [name for name in dict.fromkeys(names) if not _shipped(name)]
    found = [tfds_arrays.find(name, data_dir) for name in names]
    missing = [name for name, made in zip(names, found, strict=True) if not made.info.splits]
    if missing and importlib.util.find_spec('tensorflow') is None:
        raise UserError(
            'preparing a data set needs TensorFlow once (training never does):\n'
            "  pip install -e '.[prepare]'\n"
            f'then run this again; or copy a prepared {" and ".join(missing)} from another machine '
            f'to {found[0]._data_dir_root}'
        )
    for name, made in zip(names, found, strict=True):
        if name in missing:
            print(f'{name}: downloading and preparing in {made.data_dir}')
            print('  (a site out of reach is given up after some minutes)', flush=True)
            made = _prepared(name, data_dir, download_dir, manual_dir)
        else:
            print(f'{name}: already prepared')
        print(_summary(made), flush=True)
    if found:
        root = found[0]._data_dir_root
        print(f'\nTo use it:\n  export TFDS_DATA_DIR={os.path.abspath(os.path.expanduser(root))}')


def _shipped(name: str) -> bool:
    """Says so of the set that needs no preparation."""
    if name == 'mnist_mini':
        print('mnist_mini: ships with bioprop, there is nothing to prepare')
    return name == 'mnist_mini'


def _prepared(
    name: str, data_dir: str | None, download_dir: str | None, manual_dir: str | None
) -> tfds.core.DatasetBuilder:
    """The builder after it has done its work. Raises UserError if it could not."""
    made = tfds.builder(
        name, data_dir=tfds_arrays.root(data_dir), file_format='array_record', try_gcs=False
    )
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        made.download_and_prepare(download_dir=download_dir, download_config=config)
    except Exception as error:
        advice = _advice(made, error)
        if advice is None:
            raise
        raise UserError(f'{name}: {error}\n{advice}') from error
    return made


def _advice(made: tfds.core.DatasetBuilder, error: Exception) -> str | None:
    """What to do about an error of a builder; None if it is none of the user's making."""
    import tensorflow as tf
    from requests import RequestException
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.extractor import ExtractError

    if isinstance(error, (RequestException, urllib.error.URLError, tfds.download.DownloadError)):
        return '\n'.join(_without_network(made))
    if isinstance(error, NonMatchingChecksumError):
        return 'That file is not the published one: delete it and fetch it again.'
    if isinstance(error, AssertionError) and made.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return 'Then run this again with --manual_dir=FOLDER.'
    if isinstance(error, ImportError):
        return f'The builder of this set needs another package: pip install {error.name}'
    full = os.strerror(errno.ENOSPC) in str(error)  # array_record's writer: a RuntimeError
    if full or isinstance(error, (OSError, tf.errors.OpError, ExtractError)):
        return (
            'Writing or reading failed: free some space, or name other folders by '
            '--data_dir=DIR and --download_dir=DIR.'
        )
    return None


def _without_network(made: tfds.core.DatasetBuilder) -> Iterator[str]:
    yield 'The download failed. Try again where there is a network, or do without one:'
    yield '- fetch these elsewhere into one folder and run this again with --manual_dir=FOLDER'
    files = sorted((made.url_infos or {}).items())
    for url, info in files[:MOST_FILES]:
        yield f'    {url} ({info.size})'
    if len(files) > MOST_FILES:
        yield f'    and {len(files) - MOST_FILES} more'
    yield f'- or run the same command on another machine, and copy its folder to {made.data_dir}'


def _summary(made: tfds.core.DatasetBuilder) -> str:
    counts = ', '.join(f'{info.num_examples} {split}' for split, info in made.info.splits.items())
    return f'  {made.data_dir}: {counts} examples, {made.info.file_format.value}'


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags, and quiets what is not for the user."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    logging.set_verbosity(logging.ERROR)  # also the retries of the download
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        fail(error, status=2)


if __name__ == '__main__':
    app.run(main, flags_parser=_parse)
