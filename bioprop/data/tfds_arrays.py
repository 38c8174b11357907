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
from tensorflow_datasets.core import read_only_builder

from bioprop.data import records
from bioprop.errors import UserError, unknown
from bioprop.records.paths import readable

USUAL = ('mnist_mini', 'mnist', 'fashion_mnist', 'cifar10', 'imagenet2012')  # of some 300
PREFIX = re.compile(r'^(\w+: )?Failed to construct .*?}": ')  # tfds's, with all its arguments
DESCRIPTION = 'dataset_info.json'  # of a prepared set: NAME/VERSION/dataset_info.json


def root(data_dir: str | None = None) -> str:
    """The folder that holds prepared sets: data_dir, TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises UserError for an address that is not read.
    """
    if data_dir:
        return readable(data_dir, 'config.data_dir')
    return readable(os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets', 'TFDS_DATA_DIR')


def find(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """The builder of a set that TFDS knows or that lies in data_dir, prepared or not.

    Raises UserError for a set that is neither, or if its description cannot be read.
    """
    known = tfds.list_builders(with_community_datasets=False)
    folder = root(data_dir)
    try:
        if bare(name) in known:
            return tfds.builder(name, data_dir=folder, try_gcs=False)
        return read_only_builder.builder_from_files(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name.lower(), [*known, *_prepared(folder)])
        refusal = unknown('data set', name, near or USUAL)
        raise UserError(f'{refusal} {_elsewhere(bare(name), folder)}') from error
    except Exception as error:  # whatever TFDS, or a client of cloud storage, makes of it
        reason = PREFIX.sub('', str(error))
        raise UserError(f'data set {name!r} in {folder}: {reason}') from error


def bare(name: str) -> str:
    """The name of a set without a configuration and a version: 'mnist' of 'mnist:3.0.1'."""
    return re.split('[/:]', name)[0]


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """The builder of a prepared copy in `root(data_dir)`.

    Raises UserError if there is no such set, or if no copy has been prepared.
    """
    made = find(name, data_dir)
    if not made.info.splits:
        raise UserError(
            f'data set {name!r} is not prepared in {made.data_dir}. '
            f'{_elsewhere(bare(name), root(data_dir))} Prepare it once with\n'
            f"  pip install -e '.[prepare]' && python -m bioprop.data.prepare {name}\n"
            'or name the folder that holds it: --config.data_dir=DIR or TFDS_DATA_DIR=DIR'
        )
    return made


def _elsewhere(name: str, folder: str) -> str:
    """Where a set may have been meant that is not in its place: another version, another level."""
    here = epath.Path(folder)
    versions = sorted(path.parent.name for path in here.glob(f'{name}/*/{DESCRIPTION}'))
    if versions:
        return (
            f'There is version {", ".join(versions)}: to take it, set '
            f'--config.dataset={name}:{versions[-1]} --config.paper_dataset={name}.'
        )
    above = [(here, here.parent), (here.parent, here.parent.parent)]
    levels = [up for place, up in above if place.name == name]
    levels += [path.parent.parent.parent for path in here.glob(f'*/{name}/*/{DESCRIPTION}')]
    for level in levels:
        if name in _prepared(str(level)):
            return f'It lies in another level: --config.data_dir={level}.'
    return _told(folder)


def _prepared(folder: str) -> list[str]:
    return sorted(
        {path.parent.parent.name for path in epath.Path(folder).glob(f'*/*/{DESCRIPTION}')}
    )


def _told(folder: str) -> str:
    sets = _prepared(folder)
    return f'{folder} holds {", ".join(sets)}.' if sets else f'{folder} holds no prepared set.'


def load(
    name: str, data_dir: str | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """({'train': (images, labels), 'test': ...}, classes): uint8 (n, h, w, c) and int32 (n,).

    The test images are those of `records.tested_split`. Raises UserError for a set without such
    splits and features, or for damaged files.
    """
    made = builder(name, data_dir)
    classes = check(made, ('train',))
    splits = {'train': 'train', 'test': records.tested_split(made)}
    return {part: _arrays(made, split) for part, split in splits.items()}, classes


def check(made: tfds.core.DatasetBuilder, splits: Iterable[str]) -> int:
    """The number of classes. Raises UserError for a set without those splits, images and labels."""
    name = made.name
    for split in splits:
        if split not in made.info.splits:
            raise UserError(f'data set {name!r} has no split {split!r}: {list(made.info.splits)}')
    for feature in ('image', 'label'):
        if feature not in made.info.features:
            raise UserError(f'data set {name!r} has no {feature!r}: {list(made.info.features)}')
    image, label = (made.info.features[feature] for feature in ('image', 'label'))
    pixels = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not pixels or not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
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
