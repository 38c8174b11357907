"""Data sets as three parts in memory: training, held-out validation, test."""

from typing import NamedTuple

import numpy as np

from bioprop.data import mnist_mini, tfds_arrays
from bioprop.errors import UserError


class Part(NamedTuple):
    """Images and labels in memory."""

    image: np.ndarray  # (n, height, width, channels), uint8
    label: np.ndarray  # (n,), int32


class Dataset(NamedTuple):
    """Inputs are (pixel - mean) / std, per channel, in units of pixels."""

    train: Part
    validation: Part
    test: Part
    classes: int
    mean: np.ndarray
    std: np.ndarray

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.train.image.shape[1:]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples of each part."""
        return {name: len(part.label) for name, part in self.parts.items()}

    @property
    def parts(self) -> dict[str, Part]:
        """The three parts by name."""
        return {'train': self.train, 'validation': self.validation, 'test': self.test}


def load(name: str, validation_fraction: float, data_dir: str | None = None) -> Dataset:
    """mnist_mini, which ships with bioprop, or any prepared TFDS image classification set.

    The last part of the training set is held out for validation. Grey images are scaled to [0, 1],
    colour images standardised by the training part. Raises UserError if the set cannot be had.
    """
    if name == 'mnist_mini':
        splits, classes = mnist_mini.load()
    else:
        splits, classes = tfds_arrays.load(name, data_dir)
    images, labels = splits['train']
    kept = len(labels) - round(validation_fraction * len(labels))
    if not 0 < kept < len(labels):
        raise UserError(
            f'validation_fraction = {validation_fraction} leaves an empty part of {name!r}'
        )
    train = Part(images[:kept], labels[:kept])
    mean, std = _scaling(train.image)
    return Dataset(
        train,
        Part(images[kept:], labels[kept:]),
        Part(*splits['test']),
        classes,
        mean,
        std,
    )


def _scaling(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-channel (mean, std) that inputs are standardised by."""
    if images.shape[-1] == 1:
        return np.zeros(1, np.float32), np.full(1, 255, np.float32)
    pixels = images.reshape(-1, images.shape[-1])
    mean, std = pixels.mean(axis=0, dtype=np.float64), pixels.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), std.astype(np.float32)
