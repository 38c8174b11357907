"""TFRecord files by an index of offsets, without TensorFlow.

A file is a chain of: length (uint64), its crc (uint32), the record, its crc (uint32).
"""

import struct
from collections.abc import Iterator

from etils import epath

from bioprop.errors import UserError

HEADER, FOOTER = 12, 4


def offsets(path: epath.PathLike) -> list[tuple[int, int]]:
    """(offset, length) of every record. Raises UserError if the file ends inside a record."""
    path = epath.Path(path)
    size = path.stat().length
    index, position = [], 0
    with path.open('rb') as file:
        while position < size:
            file.seek(position)
            header = file.read(HEADER)
            length = struct.unpack('<Q', header[:8])[0] if len(header) == HEADER else size
            if position + HEADER + length + FOOTER > size:
                raise UserError(
                    f'{path} is truncated: it ends inside record {len(index)}; '
                    'copy that file again, or delete its folder and prepare the set again'
                )
            index.append((position + HEADER, length))
            position += HEADER + length + FOOTER
    return index


def records(path: epath.PathLike) -> Iterator[bytes]:
    """The records of one file, in order."""
    with epath.Path(path).open('rb') as file:
        for offset, length in offsets(path):
            file.seek(offset)
            yield file.read(length)


def read(path: epath.PathLike, offset: int, length: int) -> bytes:
    """One record. Raises ValueError if the file is shorter than its index says."""
    with epath.Path(path).open('rb') as file:
        file.seek(offset)
        record = file.read(length)
    if len(record) < length:
        raise ValueError(f'it ends inside the record at byte {offset}')
    return record
