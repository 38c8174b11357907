"""The data set that ships with the package: a fixed part of MNIST, read with numpy alone.

`python -m bioprop.data.mnist_mini` makes the file again from a prepared copy of the full MNIST.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from bioprop.errors import UserError

FILE = Path(__file__).parent / 'mnist_mini.npz'
SHA256 = 'a057c2052fe83dc275c8f1f02b1bec3022abb194ee40769db2af770d7855e972'


def load() -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """({'train': (images, labels), 'test': ...}, 10): uint8 (n, 28, 28, 1) and int32 (n,).

    Raises UserError if the shipped file is missing or is not, byte for byte, the one released.
    """
    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise UserError(
            f'mnist_mini: cannot read {FILE}: {error.strerror}; reinstall bioprop'
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise UserError(f'mnist_mini: {FILE} is damaged (its SHA-256 differs); reinstall bioprop')
    arrays = np.load(io.BytesIO(content))
    splits = {
        split: (arrays[f'{split}_images'][..., None], arrays[f'{split}_labels'].astype(np.int32))
        for split in ('train', 'test')
    }
    return splits, 10


def make() -> None:
    """Writes FILE: every 12th of MNIST's training images and every 10th of its test images."""
    from bioprop.data import tfds_arrays

    mnist, _ = tfds_arrays.load('mnist')
    arrays = {}
    for split, stride in (('train', 12), ('test', 10)):
        images, labels = mnist[split]
        arrays[f'{split}_images'] = images[::stride, ..., 0]
        arrays[f'{split}_labels'] = labels[::stride].astype(np.uint8)
    np.savez_compressed(FILE, **arrays)
    print(f'{FILE}: {FILE.stat().st_size} bytes')
    print(f'SHA256 = {hashlib.sha256(FILE.read_bytes()).hexdigest()!r}')


if __name__ == '__main__':
    make()
