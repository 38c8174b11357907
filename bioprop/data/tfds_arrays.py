"""Whole TFDS image classification sets as arrays, without TensorFlow.

Files are read one by one (not through `as_data_source`), so that an error can name the one that is
damaged.
"""

import difflib
import os
import re
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.json_format import ParseError
from tensorflow_datasets.core import read_only_builder

from bioprop.data import records
from bioprop.errors import UserError, unknown

USUAL = ('mnist_mini', 'mnist', 'fashion_mnist', 'cifar10', 'imagenet2012')  # of some 300


def root(data_dir: str | None = None) -> str:
    """The folder that holds prepared sets: data_dir, TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return os.path.expanduser(
        data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
    )


def find(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """The builder of a set that TFDS knows or that lies in data_dir, prepared or not.

    Raises UserError for a set that is neither, or if its description cannot be read.
    """
    known = tfds.list_builders(with_community_datasets=False)
    try:
        if re.split('[/:]', name)[0] in known:
            return tfds.builder(name, data_dir=root(data_dir), try_gcs=False)
        return read_only_builder.builder_from_files(name, data_dir=root(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name.lower(), known)
        raise unknown('data set', name, near or USUAL) from error
    except (ValueError, AssertionError, OSError, ParseError) as error:
        raise UserError(f'data set {name!r} in {root(data_dir)}: {error}') from error


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """The builder of a prepared copy in `root(data_dir)`.

    Raises UserError if there is no such set, or if no copy has been prepared.
    """
    made = find(name, data_dir)
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
    made, splits = builder(name, data_dir), ('train', 'test')
    classes = check(made, splits)
    return {split: _arrays(made, split) for split in splits}, classes


def check(made: tfds.core.DatasetBuilder, splits: Iterable[str]) -> int:
    """The number of classes. Raises UserError for a set without those splits, images and labels."""
    name = made.name
    for split in splits:
        if split not in made.info.splits:
            raise UserError(f'data set {name!r} has no split {split!r}: {list(made.info.splits)}')
    for feature in ('image', 'label'):
        if feature not in made.info.features:
            raise UserError(f'data set {name!r} has no {feature!r}: {list(made.info.features)}')
    image, label = (made.info.features[name] for name in ('image', 'label'))
    if image.np_dtype != np.uint8 or not isinstance(label, tfds.features.ClassLabel):
        raise UserError(
            f'data set {name!r} has no 8-bit images with class labels: {image}, {label}'
        )
    return label.num_classes


def _arrays(made: tfds.core.DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    info, shape = made.info.splits[split], made.info.features['image'].shape
    if None in shape:
        raise UserError(
            f'data set {made.name!r} has images of several sizes {shape}: set --config.image_size'
        )
    images, labels = np.empty((info.num_examples, *shape), np.uint8), []
    for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
        labels += _read(made, path, images[len(labels) :][:count])
    return images, np.array(labels, np.int32)


def _read(made: tfds.core.DatasetBuilder, path: epath.Path, images: np.ndarray) -> list[int]:
    """Fills images from one file, and returns their labels."""
    labels = []
    try:
        for record in records.in_order(path, made.info.file_format):
            example = made.info.features.deserialize_example_np(record)
            images[len(labels)] = example['image']
            labels.append(int(example['label']))
        if len(labels) < len(images):
            raise ValueError(f'it ends after {len(labels)} of {len(images)} examples')
    except IndexError as error:
        raise records.damaged(
            made, path, f'it has more than the expected {len(images)} examples'
        ) from error
    except UserError:
        raise
    except Exception as error:  # whatever its decoders make of a damaged file
        raise records.damaged(made, path, error) from error
    return labels
