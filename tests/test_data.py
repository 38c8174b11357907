"""Data sets: what is read, from which files, and what is said when that fails. No TensorFlow."""

import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem
from tensorflow_datasets.proto import tf_example_pb2

from bioprop.data import mnist_mini, sets, tfds_arrays, tfrecord
from bioprop.data.shapes import describe
from bioprop.errors import UserError

SHARDS = {'train': (30, 20), 'test': (10,)}  # examples in each file of the small sets below
HIDE_TENSORFLOW = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, *args):
        return None if name.split('.')[0] == 'tensorflow' else super().find_spec(name, *args)
files = importlib.machinery.PathFinder
sys.meta_path = [Finder if finder is files else finder for finder in sys.meta_path]
"""
PREPARE = "pip install -e '.[prepare]' && python -m bioprop.data.prepare "


# --- Small sets in the form tensorflow-datasets writes ---------------------------------------


def images_and_labels(count, channels, seed):
    generator = np.random.default_rng(seed)
    size = 28 if channels == 1 else 32
    images = generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return images, generator.integers(0, 10, count).astype(np.int32)


def example(image, label):
    """A serialised tf.train.Example with a PNG image."""
    pixels = image if image.shape[-1] == 1 else image[..., ::-1]  # OpenCV: BGR
    png = cv2.imencode('.png', pixels)[1].tobytes()
    message = tf_example_pb2.Example()
    message.features.feature['image'].bytes_list.value.append(png)
    message.features.feature['label'].int64_list.value.append(int(label))
    return message.SerializeToString()


def write_array_record(path, records):
    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    for record in records:
        writer.write(record)
    writer.close()


def write_tfrecord(path, records):
    """The two checksums of each record are left zero: bioprop does not read them."""
    path.write_bytes(
        b''.join(struct.pack('<QI', len(record), 0) + record + bytes(4) for record in records)
    )


def file_name(name, split, suffix, shard=0):
    return f'{name}-{split}.{suffix}-{shard:05d}-of-{len(SHARDS[split]):05d}'


def write_set(root, name, version, suffix, channels=1, features=('image', 'label')):
    """Writes a set as TFDS would, and returns its folder and the arrays written."""
    folder = root / name / version
    folder.mkdir(parents=True)
    write = {'array_record': write_array_record, 'tfrecord': write_tfrecord}[suffix]
    arrays = {}
    for seed, (split, counts) in enumerate(SHARDS.items()):
        arrays[split] = images_and_labels(sum(counts), channels, seed)
        records = [example(*pair) for pair in zip(*arrays[split], strict=True)]
        for shard, count in enumerate(counts):
            first = sum(counts[:shard])
            write(folder / file_name(name, split, suffix, shard), records[first : first + count])
    kinds = {
        'image': tfds.features.Image(shape=arrays['train'][0].shape[1:]),
        'label': tfds.features.ClassLabel(num_classes=10),
    }
    tfds.features.FeaturesDict({key: kinds[key] for key in features}).save_config(folder)
    write_description(folder, name, version, suffix, SHARDS)
    return folder, arrays


def write_description(folder, name, version, suffix, shards):
    splits = [
        {
            'name': split,
            'shardLengths': [str(count) for count in counts],
            'numBytes': '1',
            'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
        }
        for split, counts in shards.items()
    ]
    content = {'name': name, 'version': version, 'fileFormat': suffix, 'splits': splits}
    (folder / 'dataset_info.json').write_text(json.dumps(content))


def assert_same(splits, arrays):
    for split, (images, labels) in arrays.items():
        np.testing.assert_array_equal(splits[split][0], images)
        np.testing.assert_array_equal(splits[split][1], labels)


@pytest.fixture(params=['array_record', 'tfrecord'])
def small(request, tmp_path):
    """(data_dir, folder, suffix, arrays) of a small set in MNIST's place."""
    folder, arrays = write_set(tmp_path, 'mnist', '3.0.1', request.param)
    return tmp_path, folder, request.param, arrays


# --- mnist_mini ------------------------------------------------------------------------------


def test_mnist_mini_shapes_and_types():
    splits, classes = mnist_mini.load()
    assert classes == 10
    assert list(splits) == ['train', 'test']
    for split, count in (('train', 5000), ('test', 1000)):
        images, labels = splits[split]
        assert images.shape == (count, 28, 28, 1)
        assert images.dtype == np.uint8
        assert labels.shape == (count,)
        assert labels.dtype == np.int32
        assert images.min() == 0
        assert images.max() == 255


@pytest.mark.parametrize(
    ('split', 'mnist'),
    [
        ('train', [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ('test', [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_mnist_mini_has_the_class_proportions_of_mnist(split, mnist):
    """Within three standard deviations of an even draw."""
    _, labels = mnist_mini.load()[0][split]
    share = np.array(mnist) / sum(mnist)
    found = np.bincount(labels, minlength=10) / len(labels)
    deviation = np.sqrt(share * (1 - share) / len(labels))
    assert (np.abs(found - share) < 3 * deviation).all()


@pytest.mark.parametrize('place', [0, 1000, -1])
def test_mnist_mini_refuses_a_changed_file(tmp_path, monkeypatch, place):
    content = bytearray(mnist_mini.FILE.read_bytes())
    content[place] ^= 1
    copy = tmp_path / 'mnist_mini.npz'
    copy.write_bytes(content)
    monkeypatch.setattr(mnist_mini, 'FILE', copy)
    with pytest.raises(UserError, match=r'mnist_mini\.npz is damaged .* reinstall bioprop'):
        mnist_mini.load()


def test_mnist_mini_names_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_mini, 'FILE', tmp_path / 'mnist_mini.npz')
    with pytest.raises(UserError, match=r'cannot read .*mnist_mini\.npz: No such file'):
        mnist_mini.load()


def test_mnist_mini_is_an_even_part_of_mnist():
    if 'TFDS_DATA_DIR' not in os.environ:
        pytest.skip('TFDS_DATA_DIR is not set, so there is no full MNIST to compare with')
    try:
        mnist, _ = tfds_arrays.load('mnist')
    except UserError as error:
        pytest.skip(f'no full MNIST to compare with: {error}')
    mini, _ = mnist_mini.load()
    for split, stride in (('train', 12), ('test', 10)):
        for part, whole in zip(mini[split], mnist[split], strict=True):
            np.testing.assert_array_equal(part, whole[::stride])


# --- Three parts -----------------------------------------------------------------------------


def test_validation_is_the_last_tenth_of_the_training_set():
    whole, _ = mnist_mini.load()
    dataset = sets.load('mnist_mini', 0.1)
    assert [len(part.label) for part in dataset.parts.values()] == [4500, 500, 1000]
    for part, images in (('train', slice(4500)), ('validation', slice(4500, None))):
        np.testing.assert_array_equal(dataset.parts[part].image, whole['train'][0][images])
        np.testing.assert_array_equal(dataset.parts[part].label, whole['train'][1][images])
    np.testing.assert_array_equal(dataset.test.image, whole['test'][0])


def test_parts_share_no_image():
    dataset = sets.load('mnist_mini', 0.1)
    found = {
        name: {image.tobytes() for image in part.image} for name, part in dataset.parts.items()
    }
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 6000


def test_grey_images_are_scaled_to_one():
    dataset = sets.load('mnist_mini', 0.1)
    scaled = (dataset.train.image - dataset.mean) / dataset.std
    assert scaled.dtype == np.float32
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_colour_images_are_standardised_by_the_training_part(tmp_path):
    write_set(tmp_path, 'cifar10', '3.0.2', 'array_record', channels=3)
    dataset = sets.load('cifar10', 0.1, str(tmp_path))
    assert dataset.train.image.shape == (45, 32, 32, 3)
    assert dataset.mean.shape == dataset.std.shape == (3,)
    scaled = (dataset.train.image.astype(np.float64) - dataset.mean) / dataset.std
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize('fraction', [0.0, 1.0, -0.1, 1.5, 1e-9])
def test_a_split_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(UserError, match=r'validation_fraction = .* leaves an empty part'):
        sets.load('mnist_mini', fraction)


# --- Prepared TFDS copies --------------------------------------------------------------------


def test_both_formats_give_what_was_written(small):
    data_dir, _, _, arrays = small
    splits, classes = tfds_arrays.load('mnist', str(data_dir))
    assert classes == 10
    assert splits['train'][0].dtype == np.uint8
    assert splits['train'][1].dtype == np.int32
    assert_same(splits, arrays)


@pytest.mark.parametrize('suffix', ['array_record', 'tfrecord'])
def test_colour_set_keeps_the_order_of_its_channels(tmp_path, suffix):
    _, arrays = write_set(tmp_path, 'cifar10', '3.0.2', suffix, channels=3)
    assert_same(tfds_arrays.load('cifar10', str(tmp_path))[0], arrays)


def test_a_set_of_ones_own_needs_no_builder(tmp_path):
    _, arrays = write_set(tmp_path, 'my_digits', '1.0.0', 'array_record')
    assert_same(tfds_arrays.load('my_digits', str(tmp_path))[0], arrays)


def test_data_dir_comes_from_the_environment(small, monkeypatch):
    data_dir, _, _, arrays = small
    monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
    assert_same(tfds_arrays.load('mnist')[0], arrays)


def test_loading_does_not_need_tensorflow(small):
    data_dir, *_ = small
    program = (
        f'{HIDE_TENSORFLOW}\n'
        'from bioprop.data import sets\n'
        "assert len(sets.load('mnist', 0.1, sys.argv[1]).train.label) == 45\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, '-c', program, str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- What is said when it fails --------------------------------------------------------------


def message(name, data_dir):
    with pytest.raises(UserError) as raised:
        tfds_arrays.load(name, str(data_dir))
    return str(raised.value)


def test_a_missing_set_names_the_command(tmp_path):
    said = message('cifar10', tmp_path)
    assert PREPARE + 'cifar10' in said
    assert str(tmp_path) in said


@pytest.mark.parametrize(
    ('name', 'meant'),
    [('mnits', 'mnist'), ('MNIST', 'mnist'), ('cifar', 'cifar10'), ('fashion', 'fashion_mnist')],
)
def test_an_unknown_set_brings_a_suggestion(tmp_path, name, meant):
    said = message(name, tmp_path)
    assert f'no data set {name!r}' in said
    assert meant in said
    assert len(said) < 200


def test_a_set_like_no_other_brings_the_usual_ones(tmp_path):
    said = message('qqqqqqqq', tmp_path)
    assert "no data set 'qqqqqqqq'" in said
    assert 'cifar10' in said
    assert 'mnist_mini' in said


@pytest.mark.parametrize('name', ['', './mnist', 'mnist/no_config', 'mnist:9.9.9'])
def test_a_malformed_name_is_an_error_of_the_user(tmp_path, name):
    assert repr(name) in message(name, tmp_path)


def test_a_set_without_labels_is_refused(tmp_path):
    write_set(tmp_path, 'my_digits', '1.0.0', 'array_record', features=('image',))
    assert message('my_digits', tmp_path) == "data set 'my_digits' has no 'label': ['image']"


def test_a_set_without_a_test_is_tested_on_its_validation_images(tmp_path, monkeypatch):
    """As it is where it is streamed; with neither it is refused."""
    monkeypatch.setitem(SHARDS, 'validation', SHARDS['test'])
    monkeypatch.delitem(SHARDS, 'test')
    folder, arrays = write_set(tmp_path, 'my_digits', '1.0.0', 'array_record')
    splits, _ = tfds_arrays.load('my_digits', str(tmp_path))
    assert_same(splits, {'train': arrays['train'], 'test': arrays['validation']})
    assert describe('my_digits', 0.1, str(tmp_path)).test.examples == len(arrays['validation'][1])
    write_description(folder, 'my_digits', '1.0.0', 'array_record', {'train': SHARDS['train']})
    said = message('my_digits', tmp_path)
    assert said.endswith("has no split 'test' or 'validation' with labels: ['train']")


def test_another_version_that_is_there_is_named_and_can_be_taken(tmp_path):
    _, arrays = write_set(tmp_path, 'mnist', '3.0.0', 'array_record')
    assert '--config.dataset=mnist:3.0.0 --config.paper_dataset=mnist' in message('mnist', tmp_path)
    assert_same(tfds_arrays.load('mnist:3.0.0', str(tmp_path))[0], arrays)


@pytest.mark.parametrize('level', ['.', 'sets/mnist', 'sets/mnist/3.0.1'])
def test_a_folder_one_level_off_names_the_right_one(tmp_path, level):
    write_set(tmp_path / 'sets', 'mnist', '3.0.1', 'array_record')
    said = message('mnist', tmp_path / level)
    assert f'--config.data_dir={tmp_path / "sets"}.' in said


def test_what_a_folder_holds_is_said(tmp_path):
    for name in ('mnist', 'my_digits'):
        write_set(tmp_path, name, '3.0.1', 'array_record')
    for name in ('mnits', 'cifar10'):
        assert f'{tmp_path} holds mnist, my_digits.' in message(name, tmp_path)
    assert "did you mean 'my_digits'" in message('my_digit', tmp_path)


@pytest.mark.parametrize(
    ('folder', 'words'),
    [
        ('gs://bucket/sets', ['gs://bucket/sets', 'gcsfs']),
        ('foo://bucket/sets', ['foo://', 'gs://']),
        ('~no_such_user/sets', ['~no_such_user', 'no such user']),
    ],
)
def test_addresses_are_read_or_refused_in_a_line(folder, words):
    if importlib.util.find_spec('gcsfs') and 'gcsfs' in words:
        pytest.skip('gcsfs is installed: it would look for the bucket')
    said = message('mnist', folder)
    assert all(word in said for word in words)
    assert '\n' not in said


def test_home_is_spelt_out(tmp_path, monkeypatch):
    _, arrays = write_set(tmp_path / 'sets', 'mnist', '3.0.1', 'array_record')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert_same(tfds_arrays.load('mnist', '~/sets')[0], arrays)


# --- What is seen when it is loaded ----------------------------------------------------------


as_they_are = images_and_labels


def changed(monkeypatch, change):
    """Sets are written from then on with images and labels that change(images, labels, seed) has
    changed in place; the seed is 0 for the training images and 1 for the others.
    """

    def made(count, channels, seed):
        images, labels = as_they_are(count, channels, seed)
        change(images, labels, seed)
        return images, labels

    monkeypatch.setattr(sys.modules[__name__], 'images_and_labels', made)


@pytest.mark.parametrize(('seed', 'split'), [(0, 'train'), (1, 'test')])
@pytest.mark.parametrize('wrong', [10, -1])
def test_a_label_of_no_class_is_refused(tmp_path, monkeypatch, seed, split, wrong):
    changed(monkeypatch, lambda _, labels, mine: labels[3:4].fill(wrong if mine == seed else 0))
    write_set(tmp_path, 'my_digits', '1.0.0', 'array_record')
    words = f"split '{split}'.* 1 lie outside 0 to 9, such as {wrong}"
    with pytest.raises(UserError, match=words):
        sets.load('my_digits', 0.1, str(tmp_path))


def test_a_constant_channel_is_said_and_becomes_zero(tmp_path, monkeypatch, capsys):
    changed(monkeypatch, lambda images, *_: images[..., 1].fill(255))
    write_set(tmp_path, 'my_photos', '1.0.0', 'array_record', channels=3)
    data = sets.load('my_photos', 0.1, str(tmp_path))
    assert 'channel 1 is the same' in capsys.readouterr().err
    inputs = (data.train.image - data.mean) / data.std
    assert np.all(inputs[..., 1] == 0)
    np.testing.assert_allclose(inputs.std(axis=(0, 1, 2)), [1, 0, 1], atol=1e-5)


def test_held_out_classes_that_are_not_trained_on_are_said(tmp_path, monkeypatch, capsys):
    write_set(tmp_path / 'mixed', 'my_digits', '1.0.0', 'array_record')
    sets.load('my_digits', 0.1, str(tmp_path / 'mixed'))
    assert not capsys.readouterr().err
    changed(monkeypatch, lambda _, labels, seed: labels.sort())
    write_set(tmp_path / 'sorted', 'my_digits', '1.0.0', 'array_record')
    data = sets.load('my_digits', 0.2, str(tmp_path / 'sorted'))
    missing = sorted(set(data.validation.label.tolist()) - set(data.train.label.tolist()))
    assert missing
    said = capsys.readouterr().err
    assert f'classes {", ".join(map(str, missing))} (validation)' in said


# --- Which set it is -------------------------------------------------------------------------


def identity(root, validation_fraction=0.1):
    return sets.load('mnist', validation_fraction, str(root)).identity


def test_a_set_is_known_by_its_contents(tmp_path, monkeypatch):
    """Not by its folder, its files or what is held out, but by every pixel and label in order."""
    for suffix in ('array_record', 'tfrecord'):
        write_set(tmp_path / suffix, 'mnist', '3.0.1', suffix)
    shutil.copytree(tmp_path / 'tfrecord', tmp_path / 'copy')
    known = identity(tmp_path / 'array_record')
    assert (known['name'], known['version']) == ('mnist', '3.0.1')
    assert known == identity(tmp_path / 'tfrecord') == identity(tmp_path / 'copy', 0.5)

    def pixel(images, labels, seed):
        images[-1, 0, 0] += 1

    def label(images, labels, seed):
        labels[-1] = (labels[-1] + 1) % 10

    def order(images, labels, seed):
        images[:], labels[:] = images[::-1].copy(), labels[::-1].copy()

    for change in (pixel, label, order):
        changed(monkeypatch, change)
        root = tmp_path / change.__name__
        write_set(root, 'mnist', '3.0.1', 'array_record')
        assert identity(root)['fingerprint'] != known['fingerprint']


def test_mnist_mini_is_known_too():
    known = sets.load('mnist_mini', 0.1).identity
    assert known['name'] == 'mnist_mini'
    assert known == sets.load('mnist_mini', 0.3).identity


def test_a_damaged_description_is_an_error_of_the_user(small):
    data_dir, folder, *_ = small
    (folder / 'dataset_info.json').write_text('{')
    assert str(data_dir) in message('mnist', data_dir)


def damage_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_the_end(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_to_nothing(path):
    path.write_bytes(b'')


def damage_by_removal(path):
    path.unlink()


def damage_inside(path):
    content = bytearray(path.read_bytes())
    content[2000:5000] = bytes(3000)
    path.write_bytes(content)


@pytest.mark.parametrize('shard', [0, 1])
@pytest.mark.parametrize(
    'damage',
    [damage_in_half, damage_the_end, damage_to_nothing, damage_by_removal, damage_inside],
)
def test_a_damaged_file_is_named(small, damage, shard):
    data_dir, folder, suffix, _ = small
    path = folder / file_name('mnist', 'train', suffix, shard)
    damage(path)
    said = message('mnist', data_dir)
    assert str(path) in said
    assert 'again' in said


@pytest.mark.parametrize('shard', [0, 1])
@pytest.mark.parametrize(('count', 'expected'), [(1, 'ends after'), (40, 'more than')])
def test_a_file_with_another_number_of_examples_is_named(small, count, expected, shard):
    data_dir, folder, suffix, arrays = small
    path = folder / file_name('mnist', 'train', suffix, shard)
    write = {'array_record': write_array_record, 'tfrecord': write_tfrecord}[suffix]
    write(path, [example(*pair) for pair in list(zip(*arrays['train'], strict=True))[:count]])
    said = message('mnist', data_dir)
    assert str(path) in said
    assert expected in said


# --- TFRecord files --------------------------------------------------------------------------


def test_offsets_of_records_of_several_lengths(tmp_path):
    path = tmp_path / 'imagenet2012-train.tfrecord-00000-of-00001'
    records = [bytes([i]) * length for i, length in enumerate((5, 0, 40_000, 1))]
    write_tfrecord(path, records)
    assert tfrecord.offsets(path) == [(12, 5), (33, 0), (49, 40_000), (40_065, 1)]
    assert list(tfrecord.records(path)) == records


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / 'empty').write_bytes(b'')
    assert tfrecord.offsets(tmp_path / 'empty') == []


@pytest.mark.parametrize('kept', [1, 11, 12, 16, 20, 22, 30])
def test_a_truncated_file_is_an_error_at_every_byte(tmp_path, kept):
    path = tmp_path / 'cut'
    write_tfrecord(path, [b'hello', b'there'])
    whole = path.read_bytes()
    assert len(whole) == 42
    path.write_bytes(whole[:kept])
    with pytest.raises(UserError, match=f'{path} is truncated: it ends inside record {kept // 21}'):
        tfrecord.offsets(path)


def test_a_real_set_gives_the_same_in_both_formats(tmp_path):
    """The files of a real builder, when they are at hand, read as those written by hand."""
    source = Path(os.environ.get('TFDS_DATA_DIR', tmp_path)) / 'mnist' / '3.0.1'
    if not source.exists():
        pytest.skip('TFDS_DATA_DIR holds no mnist 3.0.1')
    copy = tmp_path / 'mnist' / '3.0.1'
    copy.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == '.json' or 'test' in path.name:
            shutil.copy(path, copy)
    info = json.loads((copy / 'dataset_info.json').read_text())
    info['fileFormat'] = 'tfrecord'
    (copy / 'dataset_info.json').write_text(json.dumps(info))
    name = 'mnist-test.{}-00000-of-00001'
    reader = array_record_module.ArrayRecordReader(str(copy / name.format('array_record')))
    write_tfrecord(copy / name.format('tfrecord'), reader.read_all())
    made = tfds_arrays.builder('mnist', str(tmp_path))
    found = tfds_arrays._arrays(made, 'test')
    whole = tfds_arrays._arrays(tfds_arrays.builder('mnist'), 'test')
    for part, expected in zip(found, whole, strict=True):
        np.testing.assert_array_equal(part, expected)


# --- Kinds of sets that nothing can be made of -----------------------------------------------


@pytest.mark.parametrize(
    'read',
    [lambda root: sets.load('my_digits', 0.1, root), lambda root: describe('my_digits', 0.1, root)],
)
@pytest.mark.parametrize(
    ('splits', 'test'), [({'validation': (10,), 'test': ()}, 10), ({'test': ()}, None)]
)
def test_a_split_without_examples_is_no_test(tmp_path, read, splits, test):
    folder, _ = write_set(tmp_path, 'my_digits', '1.0.0', 'tfrecord')
    (folder / file_name('my_digits', 'test', 'tfrecord')).rename(
        folder / 'my_digits-validation.tfrecord-00000-of-00001'
    )
    write_description(folder, 'my_digits', '1.0.0', 'tfrecord', {'train': SHARDS['train']} | splits)
    if test:
        assert read(str(tmp_path)).test.examples == test
    else:
        with pytest.raises(UserError, match="no split 'test' or 'validation' with labels"):
            read(str(tmp_path))


@pytest.mark.parametrize(
    'kinds',
    [
        {'image': tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16)},
        {'image': tfds.features.Tensor(shape=(8, 8), dtype=np.uint8)},
        {'image': tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8)},
        {'label': tfds.features.Scalar(dtype=np.int64)},
        {'label': tfds.features.ClassLabel()},
    ],
)
def test_features_of_other_types_are_refused(tmp_path, kinds):
    folder, _ = write_set(tmp_path, 'my_digits', '1.0.0', 'tfrecord')
    usual = {
        'image': tfds.features.Image(shape=(28, 28, 1)),
        'label': tfds.features.ClassLabel(num_classes=10),
    }
    tfds.features.FeaturesDict(usual | kinds).save_config(folder)
    for read in (sets.load, describe):
        with pytest.raises(UserError, match='has no 8-bit images with class labels'):
            read('my_digits', 0.1, str(tmp_path))


@pytest.mark.parametrize(
    ('change', 'said'),
    [(lambda x: 0 * x + 7, 'are 7, and tell nothing'), (lambda x: x % 2, '0 or 1 in place of')],
)
def test_grey_pixels_that_hold_little_are_said(tmp_path, capsys, monkeypatch, change, said):
    random = images_and_labels
    monkeypatch.setitem(
        globals(),
        'images_and_labels',
        lambda *args: (lambda images, labels: (change(images), labels))(*random(*args)),
    )
    write_set(tmp_path, 'my_digits', '1.0.0', 'tfrecord')
    sets.load('my_digits', 0.1, str(tmp_path))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize('off', ['sets/my_digits', 'sets/my_digits/1.0.0', ''])
def test_a_set_of_ones_own_is_found_a_level_off(tmp_path, off):
    write_set(tmp_path / 'sets', 'my_digits', '1.0.0', 'tfrecord')
    assert f'--config.data_dir={tmp_path / "sets"}.' in message('my_digits', tmp_path / off)
    assert '--config.dataset=my_digits:1.0.0' in message('my_digits:2.0.0', tmp_path / 'sets')


# --- Cloud storage ---------------------------------------------------------------------------


class Bucket(MemoryFileSystem):
    """Cloud storage, in memory."""

    store, pseudo_dirs = {}, ['']

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(re.sub('^(gcs|gs|s3)://', '/', path))


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setenv('EPATH_USE_TF', 'false')
    monkeypatch.setattr(backend.fsspec_backend, '_get_filesystem', lambda _: Bucket())
    monkeypatch.setattr(Bucket, 'store', {})
    return Bucket()


def upload(bucket, folder):
    for path in folder.iterdir():
        place = f'bucket/sets/{folder.parent.name}/{folder.name}/{path.name}'
        bucket.pipe(place, path.read_bytes())


@pytest.mark.parametrize('scheme', ['gs', 's3'])
@pytest.mark.parametrize('name', ['mnist', 'my_digits'])
def test_tfrecord_is_read_from_cloud_storage(tmp_path, bucket, scheme, name):
    folder, arrays = write_set(tmp_path, name, '3.0.1', 'tfrecord')
    upload(bucket, folder)
    assert_same(tfds_arrays.load(name, f'{scheme}://bucket/sets')[0], arrays)


def test_array_record_is_not_read_from_s3(tmp_path, bucket):
    upload(bucket, write_set(tmp_path, 'mnist', '3.0.1', 'array_record')[0])
    assert 'read from folders and gs:// only' in message('mnist', 's3://bucket/sets')


@pytest.mark.parametrize('name', ['mnist', 'my_digits'])
@pytest.mark.parametrize('kind', [PermissionError, RuntimeError])
def test_what_a_client_of_storage_raises_is_one_message(bucket, monkeypatch, name, kind):
    def fail(*_, **__):
        raise kind('no network')

    for call in ('ls', 'info', 'exists'):
        monkeypatch.setattr(Bucket, call, fail)
    assert message(name, 's3://b') == f'data set {name!r} in s3://b: no network'
