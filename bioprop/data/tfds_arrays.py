"""Whole TFDS image classification sets as arrays, without TensorFlow.

Both file formats are read: array_record through `as_data_source`, tfrecord by `data.tfrecord`.
"""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from bioprop.data import tfrecord
from bioprop.errors import UserError, unknown


CHUNK = 1000  # examples read at a time


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """The builder of a prepared copy under data_dir (default: TFDS_DATA_DIR, ~/tensorflow_datasets).

    Raises UserError if TFDS does not know the set, or if no copy has been prepared.
    """
    data_dir = data_dir or os.environ.get('TFDS_DATA_DIR') or None
    try:
        made = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise unknown('data set', name, ['mnist_mini', *tfds.list_builders()]) from error
    if not made.info.splits:
        raise UserError(
            f'data set {name!r} is not prepared in {made.data_dir}. Prepare it once with\n'
            f"  pip install -e '.[prepare]' && python -m bioprop.data.prepare {name}\n"
            'or name the folder that holds it: --config.data_dir=DIR or TFDS_DATA_DIR=DIR'
        )
    return made


def load(
    name: str, data_dir: str | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """({'train': (images, labels), 'test': ...}, classes): uint8 (n, h, w, c) and int32 (n,).

    Raises UserError for a set without those splits and features, or for damaged files.
    """
    made = builder(name, data_dir)
    for split in ('train', 'test'):
        if split not in made.info.splits:
            raise UserError(f'data set {name!r} has no split {split!r}: {list(made.info.splits)}')
    for feature in ('image', 'label'):
        if feature not in made.info.features:
            raise UserError(f'data set {name!r} has no {feature!r}: {list(made.info.features)}')
    classes = made.info.features['label'].num_classes
    return {split: _arrays(made, split) for split in ('train', 'test')}, classes


def _arrays(made: tfds.core.DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    count = made.info.splits[split].num_examples
    shape = made.info.features['image'].shape
    if None in shape:
        raise UserError(f'data set {made.name!r} has images of several sizes {shape}')
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
    try:
        place = -1
        for place, example in enumerate(_examples(made, split)):
            images[place], labels[place] = example['image'], example['label']
    except (OSError, IndexError, RuntimeError, ValueError) as error:
        raise UserError(f'cannot read {split} of {made.data_dir}: {error}') from error
    if place + 1 != count:
        raise UserError(f'{made.data_dir} has {place + 1} {split} examples in place of {count}')
    return images, labels


def _examples(made: tfds.core.DatasetBuilder, split: str) -> Iterator[dict]:
    if made.info.file_format == tfds.core.FileFormat.TFRECORD:
        for path in made.info.splits[split].filepaths:
            for record in tfrecord.records(path):
                yield made.info.features.deserialize_example_np(record)
    else:
        source = made.as_data_source(split=split)
        for first in range(0, len(source), CHUNK):
            yield from source.__getitems__(list(range(first, min(first + CHUNK, len(source)))))
