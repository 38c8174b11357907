"""Records of a prepared TFDS copy: those of a file in order, or any one of a split by its number.

Both file formats are read without TensorFlow: array_record by its own reader, tfrecord by an index
of offsets. Paths are etils.epath's: local ones, and those of cloud storage.
"""

import bisect
import functools
import itertools
import os
import resource
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from etils import epath
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from bioprop.data import tfrecord
from bioprop.errors import UserError

CHUNK = 1000  # records read at a time


class Records:
    """The records of one split by number, in the order of its files.

    Several threads may read. A file is opened, and a tfrecord file indexed (its payloads are not
    read), when it is first needed. Raises UserError that names a file which is missing, at once,
    or damaged, when it is read.
    """

    def __init__(self, made: tfds.core.DatasetBuilder, split: str):
        self.made = made
        info = made.info.splits[split]
        self.paths, self.counts = info.filepaths, info.shard_lengths
        check_format(self.paths[0], made.info.file_format)
        self.ends = list(itertools.accumulate(self.counts))
        _check_presence(made, self.paths)
        if made.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            _allow_open_files(len(self.paths))
        self._reader = functools.cache(self._open)

    def __len__(self):
        return self.ends[-1]

    def place(self, number: int) -> tuple[int, int]:
        """(file, place in it) of a record; the file is one of `paths`."""
        file = bisect.bisect_right(self.ends, number)
        return file, number - self.ends[file] + self.counts[file]

    def __getitem__(self, number: int) -> bytes:
        file, place = self.place(number)
        try:
            return self._reader(file)(place)
        except UserError:
            raise
        except Exception as error:  # whatever a reader makes of a damaged file
            raise self.damaged(number, error) from error

    def damaged(self, number: int, error: object) -> UserError:
        """That the file which holds this record is damaged."""
        return damaged(self.made, self.paths[self.place(number)[0]], error)

    def _open(self, file: int) -> Callable[[int], bytes]:
        path, expected = self.paths[file], self.counts[file]
        if self.made.info.file_format == tfds.core.FileFormat.TFRECORD:
            index = np.array(tfrecord.offsets(path), np.int64)
            count, read = len(index), lambda place: tfrecord.read(path, *index[place].tolist())
        else:
            reader = array_record_reader(path, 'readahead_buffer_size:0')
            count, read = reader.num_records(), lambda place: reader.read([place])[0]
        if count != expected:
            raise ValueError(f'it has {count} records in place of {expected}')
        return read


def read(records: Records, number: int) -> tuple[bytes, int, str]:
    """(encoded image, label, name of the original file or '') of an example.

    The message is read as it is: TFDS's own parser takes 30 times as long. Raises UserError that
    names the file if it is damaged.
    """
    record = records[number]
    try:
        feature = tf_example_pb2.Example.FromString(record).features.feature
        (image,), (label,) = feature['image'].bytes_list.value, feature['label'].int64_list.value
    except (DecodeError, ValueError) as error:
        raise records.damaged(number, f'a record is no example of the set ({error})') from error
    names = feature['file_name'].bytes_list.value
    return image, label, names[0].decode(errors='replace') if names else ''


def tested_split(made: tfds.core.DatasetBuilder) -> str:
    """The split that is tested on: 'test', or 'validation' where that is missing or unlabelled.

    TFDS gives the examples of a test without labels label -1. Raises UserError if neither serves.
    """
    for split in ('test', 'validation'):
        filled = split in made.info.splits and made.info.splits[split].num_examples
        if filled and read(Records(made, split), 0)[1] >= 0:
            return split
    raise UserError(
        f"data set {made.name!r} has no split 'test' or 'validation' with labels: "
        f'{list(made.info.splits)}'
    )


def in_order(path: epath.Path, file_format: tfds.core.FileFormat) -> Iterator[bytes]:
    """All records of one file."""
    check_format(path, file_format)
    if file_format == tfds.core.FileFormat.TFRECORD:
        yield from tfrecord.records(path)
    else:
        reader = array_record_reader(path)
        for first in range(0, reader.num_records(), CHUNK):
            yield from reader.read(first, min(first + CHUNK, reader.num_records()))


def check_format(path: epath.Path, file_format: tfds.core.FileFormat) -> None:
    """Raises UserError for files that are not read here."""
    if file_format not in (tfds.core.FileFormat.TFRECORD, tfds.core.FileFormat.ARRAY_RECORD):
        raise UserError(f'bioprop reads array_record and tfrecord, not {file_format.value}')
    scheme = str(path).partition('://')[0] if '://' in str(path) else 'gs'
    if file_format == tfds.core.FileFormat.ARRAY_RECORD and scheme != 'gs':
        raise UserError(
            f'{path.parent}: array_record files are read from folders and gs:// only; mount the '
            'bucket, or use a copy in tfrecord'
        )


def array_record_reader(path: epath.Path, options: str = ''):
    """The open reader of a file. Raises RuntimeError with the reason if it cannot be read."""
    reader = array_record_module.ArrayRecordReader(os.fspath(path), options)
    if not reader.ok():
        reader.close()  # raises the reason
    return reader


def damaged(made: tfds.core.DatasetBuilder, path: epath.Path, error: object) -> UserError:
    """What is wrong with a file, and what to do about it."""
    return UserError(f'cannot read {path}: {error}\n{again(made)}')


def again(made: tfds.core.DatasetBuilder) -> str:
    """What to do about a damaged set."""
    return (
        f'Copy the set again; or delete {made.data_dir} and prepare it again:\n'
        f'  python -m bioprop.data.prepare {made.name}'
    )


def _check_presence(made: tfds.core.DatasetBuilder, paths: list[epath.Path]) -> None:
    """By one listing: asking for each of 1,000 files in cloud storage would take a minute."""
    present = {path.name for path in paths[0].parent.iterdir()}
    for path in paths:
        if path.name not in present:
            raise damaged(made, path, 'it is missing')


def _allow_open_files(count: int) -> None:
    """Array_record's readers keep their files open: ImageNet's are more than the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = soft + count
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
