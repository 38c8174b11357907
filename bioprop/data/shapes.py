"""Data sets by their shapes alone: nothing is read, and no copy has to be there."""

import numpy as np

from bioprop.data import mnist_mini, records, tfds_arrays
from bioprop.data.sets import Dataset, Part, kept
from bioprop.errors import UserError

# Examples of (training, test) where no copy says so. ImageNet is tested on its validation images.
EXAMPLES = {
    'mnist': (60_000, 10_000),
    'fashion_mnist': (60_000, 10_000),
    'cifar10': (50_000, 10_000),
    'imagenet2012': (1_281_167, 50_000),
}


def describe(
    name: str,
    validation_fraction: float,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> Dataset:
    """A set in the shapes that it has once loaded, from what TFDS knows of it.

    With an image_size its images are squares of that size. Raises UserError for a set whose size
    nobody knows before it is prepared, for images of several sizes without an image_size, and for
    an empty part.
    """
    if name == 'mnist_mini':
        splits, classes = mnist_mini.load()
        counts, shape = [len(splits[split][1]) for split in ('train', 'test')], (28, 28, 1)
    else:
        made = tfds_arrays.find(name, data_dir)
        info = made.info
        classes = tfds_arrays.check(made, ('train',) if info.splits else ())
        shape = info.features['image'].shape
        counts = EXAMPLES.get(name)
        if info.splits:
            tested = records.tested_split(made)
            counts = [info.splits[split].num_examples for split in ('train', tested)]
        if not counts:
            raise UserError(
                f'the number of images of {name!r} is not known before it is prepared:\n'
                f'  python -m bioprop.data.prepare {name}'
            )
    if image_size:
        shape = (image_size, image_size, 3)
    if None in shape:
        raise UserError(f'data set {name!r} has images of several sizes: set --config.image_size')
    train, test = counts
    left = kept(name, train, validation_fraction)
    parts = [_part(count, shape) for count in (left, train - left, test)]
    channels = np.ones(shape[-1], np.float32)
    return Dataset(*parts, classes, channels, channels)


def _part(count: int, shape: tuple[int, ...]) -> Part:
    """One black pixel, seen as many images."""
    image = np.broadcast_to(np.uint8(0), (count, *shape))
    return Part(image, np.broadcast_to(np.int32(0), count))
