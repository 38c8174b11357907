"""Data sets as three parts: training, held-out validation, test. Those that fit are in memory."""

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from bioprop.data import inspection, mnist_mini, tfds_arrays
from bioprop.errors import UserError


class Part(NamedTuple):
    """Images and labels in memory."""

    image: np.ndarray  # (n, height, width, channels), uint8
    label: np.ndarray  # (n,), int32

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self.label)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.image.shape[1:]


P = TypeVar('P')  # Part, or data.stream.Stream


class Dataset(NamedTuple, Generic[P]):
    """Inputs are (pixel - mean) / std, per channel, in units of pixels.

    identity is {'name', 'version', 'fingerprint'}: which set this is, by its contents.
    """

    train: P
    validation: P
    test: P
    classes: int
    mean: np.ndarray
    std: np.ndarray
    identity: dict[str, Any] | None = None

    @property
    def parts(self) -> dict[str, P]:
        """The three parts by name."""
        return {'train': self.train, 'validation': self.validation, 'test': self.test}


def load(name: str, validation_fraction: float, data_dir: str | None = None) -> Dataset[Part]:
    """mnist_mini, which ships with bioprop, or any prepared TFDS image classification set.

    The last part of the training set is held out for validation. Grey images are scaled to [0, 1],
    colour images standardised by the training part. Raises UserError if the set cannot be had, or
    has labels that are none of its classes.
    """
    if name == 'mnist_mini':
        version, (splits, classes) = None, mnist_mini.load()
    else:
        version = str(tfds_arrays.builder(name, data_dir).version)
        splits, classes = tfds_arrays.load(name, data_dir)
    for split, (_, labels) in splits.items():
        inspection.check_labels(f'data set {name!r}, split {split!r}', labels, classes)
    images, labels = splits['train']
    count = kept(name, len(labels), validation_fraction)
    train, validation = Part(images[:count], labels[:count]), Part(images[count:], labels[count:])
    test = Part(*splits['test'])
    others = {'validation': validation.label, 'test': test.label}
    inspection.say_untrained(name, train.label, others)
    mean, std = _scaling(name, train.image)
    contents = (array for split in ('train', 'test') for array in splits[split])
    identity = {
        'name': name, 'version': version, 'fingerprint': inspection.fingerprint(contents),
    }  # fmt: skip
    return Dataset(train, validation, test, classes, mean, std, identity)


def kept(name: str, count: int, validation_fraction: float) -> int:
    """How many of the training images are left to train on. Raises UserError if none, or all."""
    left = count - round(validation_fraction * count)
    if not 0 < left < count:
        raise UserError(
            f'validation_fraction = {validation_fraction} leaves an empty part of {name!r}'
        )
    return left


def _scaling(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-channel (mean, std) that inputs are standardised by."""
    if images.shape[-1] == 1:
        inspection.say_range(name, images.min(), images.max())
        return np.zeros(1, np.float32), np.full(1, 255, np.float32)
    pixels = images.reshape(-1, images.shape[-1])
    mean, std = pixels.mean(axis=0, dtype=np.float64), pixels.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), inspection.deviations(name, std).astype(np.float32)
