"""The stream: which examples are in which batch, resuming, sharing, and what is damaged."""

import io
import itertools
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import chex
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2
from test_data import HIDE_TENSORFLOW, write_array_record, write_description, write_tfrecord

from bioprop.data import crops, stream, tfds_arrays
from bioprop.data.records import Records
from bioprop.data.stream import open_stream
from bioprop.errors import UserError

WRITE = {'array_record': write_array_record, 'tfrecord': write_tfrecord}
SIZE = 8
SHARDS = {'train': (13, 10), 'validation': (4, 3)}  # examples in each file
HELD_OUT = 0.1  # 2 of 23
KEPT = 21


def jpeg(seed):
    image = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).resize((20 + seed, 18)).save(file, 'JPEG')
    return file.getvalue()


def example(image, label):
    message = tf_example_pb2.Example()
    message.features.feature['image'].bytes_list.value.append(image)
    message.features.feature['label'].int64_list.value.append(label)
    message.features.feature['file_name'].bytes_list.value.append(b'original_%d.jpg' % label)
    return message.SerializeToString()


def path_of(folder, split, suffix, shard, shards=2):
    return folder / f'photos-{split}.{suffix}-{shard:05d}-of-{shards:05d}'


def write_photos(root, suffix, splits=SHARDS, damaged=(), labels=None):
    """A set whose labels are the places of the examples in their split; returns its folder."""
    folder = root / 'photos' / '1.0.0'
    folder.mkdir(parents=True)
    for split, counts in splits.items():
        images = [jpeg(i)[: -20 if (split, i) in damaged else None] for i in range(sum(counts))]
        given = (labels or {}).get(split, range(sum(counts)))
        records = [example(*pair) for pair in zip(images, given, strict=True)]
        for shard, count in enumerate(counts):
            first = sum(counts[:shard])
            path = path_of(folder, split, suffix, shard, len(counts))
            WRITE[suffix](path, records[first : first + count])
    tfds.features.FeaturesDict(
        {
            'image': tfds.features.Image(encoding_format='jpeg'),
            'label': tfds.features.ClassLabel(num_classes=100),
            'file_name': tfds.features.Text(),
        }
    ).save_config(folder)
    write_description(folder, 'photos', '1.0.0', suffix, splits)
    return folder


def photos(root, **options):
    return open_stream('photos', str(root), SIZE, HELD_OUT, **options)


@pytest.fixture(params=['array_record', 'tfrecord'], scope='module')
def dataset(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    write_photos(root, request.param)
    return photos(root)


def take(batches, count):
    found = list(itertools.islice(batches, count))
    batches.close()
    return found


def labels(batches):
    return np.concatenate([batch.label for batch in batches])


def together(shares):
    return [stream.Batch(*map(np.concatenate, zip(*parts, strict=True))) for parts in shares]


# --- Parts and batches -----------------------------------------------------------------------


def test_parts_are_as_held_out_and_as_tfds_splits_them(dataset):
    assert {name: len(part) for name, part in dataset.parts.items()} == {
        'train': KEPT, 'validation': 2, 'test': 7,
    }  # fmt: skip
    assert dataset.classes == 100
    assert labels(dataset.validation.once(2)).tolist() == [21, 22]
    chex.assert_trees_all_close(dataset.mean, np.float32([123.675, 116.28, 103.53]))
    chex.assert_trees_all_close(dataset.std, np.float32([58.395, 57.12, 57.375]))


def test_each_pass_is_a_permutation_of_its_own(dataset):
    batches = take(dataset.train.training(3, 4), 15)
    for batch in batches:
        assert [array.shape for array in batch] == [(4, SIZE, SIZE, 3), (4,), (4,)]
        assert [array.dtype for array in batch] == [np.uint8, np.int32, bool]
        assert batch.valid.all()
    passes = labels(batches).reshape(3, 20)
    for order in passes:
        assert len(set(order)) == 20
        assert set(order) < set(range(KEPT))
        assert (np.diff(order) < 0).any()
    assert len({tuple(order) for order in passes}) == 3
    other = labels(take(dataset.train.training(4, 4), 5))
    assert other.tolist() != passes[0].tolist()


def test_every_image_stands_with_its_label(dataset):
    for batch in take(dataset.train.training(0, 7), 3):
        for image, label in zip(batch.image, batch.label, strict=True):
            whole = crops.decode(jpeg(label))[..., ::-1].reshape(-1, 3).astype(float)
            assert (image.min((0, 1)) >= whole.min(0) - 1).all()
            assert (image.max((0, 1)) <= whole.max(0) + 1).all()


def test_crops_differ_between_places_passes_and_seeds(tmp_path, monkeypatch):
    """On a set whose images are all the same."""
    same = jpeg(9)
    monkeypatch.setattr(sys.modules[__name__], 'jpeg', lambda _: same)
    write_photos(tmp_path, 'tfrecord')
    train = photos(tmp_path).train
    batches = take(train.training(0, KEPT), 2) + take(train.training(1, KEPT), 1)
    images = np.concatenate([batch.image for batch in batches])
    assert len({image.tobytes() for image in images}) > 0.9 * len(images)


@pytest.mark.parametrize('first', [1, 4, 5, 12])
def test_a_stream_goes_on_from_any_step(dataset, first):
    whole = take(dataset.train.training(1, 4), 14)
    chex.assert_trees_all_equal(
        take(dataset.train.training(1, 4, first), 14 - first), whole[first:]
    )


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_share_each_batch(dataset, processes):
    shares = [(process, processes) for process in range(processes)]
    parts = [take(dataset.train.training(1, 4, 3, share), 4) for share in shares]
    whole = take(dataset.train.training(1, 4, 3), 4)
    chex.assert_trees_all_equal(together(zip(*parts, strict=True)), whole)
    parts = [list(dataset.test.once(4, share)) for share in shares]
    chex.assert_trees_all_equal(together(zip(*parts, strict=True)), list(dataset.test.once(4)))


@pytest.mark.parametrize(('threads', 'run', 'prefetch'), [(1, 3, 0), (5, 2, 1), (2, 64, 3)])
def test_threads_change_nothing(dataset, threads, run, prefetch, monkeypatch):
    whole = take(dataset.train.training(1, 10), 5)
    monkeypatch.setattr(stream, 'cores', lambda: threads)
    monkeypatch.setattr(stream, 'RUN', run)
    found = take(dataset.train.training(1, 10, prefetch=prefetch), 5)
    chex.assert_trees_all_equal(found, whole)


@pytest.mark.parametrize('hold', [lambda image: image[2:, ::3, 1], jnp.asarray])
def test_memory_is_used_again_but_never_while_it_is_held(dataset, hold):
    batches = dataset.train.training(1, 20)
    held, copies, places = [], [], []
    for k, batch in enumerate(itertools.islice(batches, 24)):
        places.append(batch.image.ctypes.data)
        if k in (3, 9):
            held.append(hold(batch.image))
            copies.append(np.array(held[-1]))
        del batch
    batches.close()
    chex.assert_trees_all_equal(held, copies)
    assert len(set(places)) < 12


@pytest.mark.parametrize('batch_size', [1, 3, 7, 20])
def test_once_has_every_example_once_in_order(dataset, batch_size):
    batches = list(dataset.test.once(batch_size))
    assert len(batches) == -(-7 // batch_size)
    assert {batch.image.shape for batch in batches} == {(batch_size, SIZE, SIZE, 3)}
    valid = np.concatenate([batch.valid for batch in batches])
    assert valid.tolist() == [True] * 7 + [False] * (len(valid) - 7)
    assert labels(batches)[:7].tolist() == list(range(7))
    images = np.concatenate([batch.image for batch in batches])
    for label in range(7):
        chex.assert_trees_all_equal(images[label], crops.evaluation_crop(jpeg(label), SIZE))
    assert not images[7:].any()


def test_both_formats_give_the_same(tmp_path):
    found = []
    for suffix in WRITE:
        write_photos(tmp_path / suffix, suffix)
        found.append(take(photos(tmp_path / suffix).train.training(0, 5), 6))
    chex.assert_trees_all_equal(*found)


@pytest.mark.parametrize('unlabelled', [True, False])
def test_the_test_part_is_the_labelled_split(tmp_path, unlabelled):
    splits = SHARDS | {'test': (5,)}
    given = {'test': [-1] * 5} if unlabelled else {}
    write_photos(tmp_path, 'array_record', splits, labels=given)
    assert len(photos(tmp_path).test) == (7 if unlabelled else 5)


# --- What cannot be had ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('call', 'said'),
    [
        (lambda part: part.training(0, 22), 'a batch of 22 exceeds the 21 training images'),
        (lambda part: part.training(0, 6, share=(0, 4)), 'multiple of 4 processes'),
        (lambda part: part.once(6, share=(0, 4)), 'multiple of 4 processes'),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_at_once(dataset, call, said):
    with pytest.raises(UserError, match=said):
        call(dataset.train)


@pytest.mark.parametrize('fraction', [0.0, 1.0])
def test_an_empty_part_is_refused(tmp_path, fraction):
    write_photos(tmp_path, 'tfrecord')
    with pytest.raises(UserError, match=r"leaves an empty part of 'photos'"):
        open_stream('photos', str(tmp_path), SIZE, fraction)


@pytest.mark.parametrize('splits', [{'train': (9,)}, {'train': (9,), 'test': (5,)}])
def test_a_set_without_a_labelled_test_is_refused(tmp_path, splits):
    write_photos(tmp_path, 'array_record', splits, labels={'test': [-1] * 5})
    with pytest.raises(UserError, match=r"no split 'test' or 'validation' with labels: \['train'"):
        photos(tmp_path)


def test_without_grain_one_message_names_the_command(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'grain', None)
    with pytest.raises(UserError, match=r"needs grain: pip install -e '\.\[imagenet\]'"):
        photos(tmp_path)
    with pytest.raises(UserError, match='needs grain'):
        dataset.train.training(0, 4)


def test_streaming_does_not_need_tensorflow(tmp_path):
    write_photos(tmp_path, 'tfrecord')
    program = (
        f'{HIDE_TENSORFLOW}\n'
        'from bioprop.data.stream import open_stream\n'
        "assert 'grain' not in sys.modules\n"
        "train = open_stream('photos', sys.argv[1], 8, 0.1).train\n"
        'assert next(train.training(0, 4)).valid.all()\n'
        "assert 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, '-c', program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


# --- Damaged images --------------------------------------------------------------------------


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(logging, 'warning', lambda text, *values: found.append(text % values))
    return found


@pytest.mark.parametrize('suffix', list(WRITE))
def test_a_damaged_image_is_replaced_by_the_next_of_the_order(tmp_path, suffix, warnings):
    write_photos(tmp_path / 'whole', suffix)
    folder = write_photos(tmp_path / 'cut', suffix, damaged=[('train', 15), ('train', 3)])
    whole, cut = (photos(tmp_path / name).train for name in ('whole', 'cut'))
    order = labels(take(whole.training(2, KEPT), 2)).reshape(2, KEPT)
    expected = order.copy()
    for number, place in zip(*np.where(np.isin(order, (3, 15))), strict=True):
        after = (label for label in np.roll(order[number], -place) if label not in (3, 15))
        expected[number, place] = next(after)
    for share in ((0, 1), (0, 3), (2, 3)):
        batches = take(cut.training(2, KEPT, share=share), 2)
        found = labels(batches).reshape(2, -1)
        width = KEPT // share[1]
        first = share[0] * width
        chex.assert_trees_all_equal(found, expected[:, first : first + width])
        assert all(batch.valid.all() for batch in batches)
    assert len(warnings) == 2  # each once, over passes and iterators
    for number, place, shard in ((15, 2, 1), (3, 3, 0)):
        path = path_of(folder, 'train', suffix, shard)
        said = f'photos: the image (original_{number}.jpg) in record {place} of {path} is damaged'
        assert sum(text.startswith(said) for text in warnings) == 1
    assert all('cut short' in text for text in warnings)


def test_a_damaged_image_is_not_valid_in_evaluation(tmp_path, warnings):
    write_photos(tmp_path, 'array_record', damaged=[('validation', 5)])
    test = photos(tmp_path).test
    for _ in range(3):
        valid = np.concatenate([batch.valid for batch in test.once(4)])
        assert valid.tolist() == [True] * 5 + [False, True, False]
    assert len(warnings) == 1


@pytest.mark.parametrize('part', ['train', 'test'])
def test_too_many_damaged_images_end_the_stream(tmp_path, part, warnings):
    split = {'train': 'train', 'test': 'validation'}[part]
    damaged = [(split, number) for number in range(6)]
    folder = write_photos(tmp_path, 'tfrecord', damaged=damaged)

    def batches(share):
        chosen = photos(tmp_path, damaged_share=share).parts[part]
        return take(chosen.training(0, 7), 9) if part == 'train' else list(chosen.once(1))

    with pytest.raises(UserError, match='6 of') as raised:
        batches(0.001)
    said = str(raised.value)
    assert str(folder) in said
    assert 'more than 0.1%' in said
    assert 'python -m bioprop.data.prepare photos' in said
    assert batches(1.0)


def test_a_handful_is_never_too_many(tmp_path, warnings):
    write_photos(tmp_path, 'tfrecord', damaged=[('train', number) for number in range(5)])
    batches = take(photos(tmp_path).train.training(0, 7), 30)
    assert min(labels(batches)) == 5
    assert len(warnings) == 5


def test_where_all_are_damaged_the_stream_ends(tmp_path, warnings):
    write_photos(tmp_path, 'tfrecord', damaged=[('train', number) for number in range(23)])
    with pytest.raises(UserError, match='images are damaged'):
        next(photos(tmp_path).train.training(0, 7))


# --- Damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', list(WRITE))
@pytest.mark.parametrize(('split', 'shard'), [('train', 0), ('train', 1), ('validation', 1)])
def test_a_missing_file_is_named_before_training(tmp_path, suffix, split, shard):
    path = path_of(write_photos(tmp_path, suffix), split, suffix, shard)
    path.unlink()
    with pytest.raises(UserError, match=f'cannot read {path}: it is missing\nCopy the set again'):
        photos(tmp_path)


def cut_in_half(path, _):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_to_nothing(path, _):
    path.write_bytes(b'')


def fewer(path, suffix):
    WRITE[suffix](path, [example(jpeg(i), i) for i in range(9)])


def other(path, suffix):
    WRITE[suffix](path, [b'what is this?'] * 10)


def no_label(path, suffix):
    WRITE[suffix](path, [tf_example_pb2.Example().SerializeToString()] * 10)


@pytest.mark.parametrize('suffix', list(WRITE))
@pytest.mark.parametrize('damage', [cut_in_half, cut_to_nothing, fewer, other, no_label])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    path = path_of(write_photos(tmp_path, suffix), 'train', suffix, 1)
    damage(path, suffix)
    with pytest.raises(UserError, match=str(path)) as raised:
        take(photos(tmp_path).train.training(0, KEPT), 1)
    assert 'again' in str(raised.value)


# --- Records by number -----------------------------------------------------------------------


@pytest.mark.parametrize('suffix', list(WRITE))
def test_records_are_read_from_several_threads(tmp_path, suffix):
    write_photos(tmp_path, suffix)
    records = Records(tfds_arrays.builder('photos', str(tmp_path)), 'train')
    assert len(records) == 23
    assert [records.place(number) for number in (0, 12, 13, 22)] == [
        (0, 0),
        (0, 12),
        (1, 0),
        (1, 9),
    ]
    numbers = np.random.default_rng(0).integers(0, 23, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for number, record in zip(numbers, pool.map(records.__getitem__, numbers), strict=True):
            assert record == example(jpeg(number), number)


def test_a_real_imagenet_streams():
    data_dir = os.environ.get('TFDS_DATA_DIR')
    if not data_dir or not os.path.isdir(os.path.join(data_dir, 'imagenet2012')):
        pytest.skip('TFDS_DATA_DIR holds no imagenet2012')
    dataset = open_stream('imagenet2012', data_dir, 224, 0.01)
    assert dataset.classes == 1000
    batches = take(dataset.train.training(0, 64), 2)
    assert all(batch.label.min() >= 0 and batch.label.max() < 1000 for batch in batches)
    assert 60 < np.mean([batch.image.mean() for batch in batches]) < 180
    first = next(dataset.test.once(32))
    assert first.valid.all()


# --- Labels, and which set it is ---------------------------------------------------------------


@pytest.mark.parametrize('wrong', [100, -1])
def test_a_label_of_no_class_ends_the_stream_and_names_its_record(tmp_path, wrong):
    """The set has 100 classes; record 5 of the second file is the eighteenth example."""
    given = list(range(sum(SHARDS['train'])))
    given[18] = wrong
    write_photos(tmp_path, 'array_record', labels={'train': given})
    with pytest.raises(UserError, match=rf'record 5 of .*00001-of-00002: .* such as {wrong}'):
        list(photos(tmp_path).train.once(KEPT))


def test_a_streamed_set_is_known_by_its_files(tmp_path):
    write_photos(tmp_path / 'one', 'array_record')
    shutil.copytree(tmp_path / 'one', tmp_path / 'copy')
    known = photos(tmp_path / 'one').identity
    assert (known['name'], known['version']) == ('photos', '1.0.0')
    assert known == photos(tmp_path / 'copy').identity
    write_photos(tmp_path / 'other', 'array_record', labels={'validation': range(1, 8)})
    write_photos(tmp_path / 'shards', 'array_record', splits=SHARDS | {'train': (12, 11)})
    for other in ('other', 'shards'):
        assert photos(tmp_path / other).identity['fingerprint'] != known['fingerprint']
