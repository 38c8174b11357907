"""Preparing data sets: what is said without TensorFlow, and the real builders where it is there."""

import errno
import gzip
import importlib.util
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from test_data import HIDE_TENSORFLOW, write_set

from bioprop.data import prepare, tfds_arrays
from bioprop.errors import UserError

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec('tensorflow') is None,
    reason="TensorFlow is not installed (pip install -e '.[prepare]')",
)


@pytest.fixture
def without_tensorflow(monkeypatch):
    """`prepare` finds no TensorFlow in this test."""
    monkeypatch.setattr(prepare.importlib.util, 'find_spec', lambda name: None)


def command(*arguments):
    """Runs the command line without TensorFlow; its exit status, stdout and stderr."""
    program = (
        f'import runpy\n{HIDE_TENSORFLOW}\n'
        "runpy.run_module('bioprop.data.prepare', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_one_message(stderr, expected):
    """No traceback, and the message stands alone."""
    assert 'Traceback' not in stderr
    assert stderr.count('bioprop: ') == 1
    assert expected in stderr


# --- Without TensorFlow ----------------------------------------------------------------------


def test_no_set_named():
    status, _, stderr = command()
    assert status == 1
    assert_one_message(stderr, 'no data set named; for example: python -m bioprop.data.prepare')


def test_an_unknown_flag():
    status, _, stderr = command('mnist', '--data_dirr=x')
    assert status == 2
    assert_one_message(stderr, 'data_dirr')


def test_help_says_how():
    _, stdout, _ = command('--help')
    assert 'python -m bioprop.data.prepare mnist cifar10' in stdout
    for flag in ('--data_dir', '--download_dir', '--manual_dir'):
        assert flag in stdout


def test_missing_tensorflow_is_one_message(tmp_path):
    status, _, stderr = command('mnist', f'--data_dir={tmp_path}')
    assert status == 1
    assert_one_message(stderr, "pip install -e '.[prepare]'")
    assert not list(tmp_path.iterdir())


def test_an_unknown_set_is_said_before_anything_is_done(tmp_path, without_tensorflow):
    with pytest.raises(UserError, match=r"no data set 'cifer10'; did you mean 'cifar10'\?"):
        prepare.prepare(['mnist', 'cifer10'], str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', ['array_record', 'tfrecord'])
def test_a_prepared_set_is_left_alone(tmp_path, capsys, without_tensorflow, suffix):
    folder, _ = write_set(tmp_path, 'mnist', '3.0.1', suffix)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    prepare.prepare(['mnist'], str(tmp_path))
    said = capsys.readouterr().out
    assert 'mnist: already prepared' in said
    assert f'{folder}: 50 train, 10 test examples, {suffix}' in said
    assert f'export TFDS_DATA_DIR={tmp_path}' in said
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_only_the_missing_sets_need_tensorflow(tmp_path, without_tensorflow):
    write_set(tmp_path, 'mnist', '3.0.1', 'array_record')
    with pytest.raises(UserError, match='copy a prepared cifar10 from another machine'):
        prepare.prepare(['mnist', 'cifar10'], str(tmp_path))


def test_the_shipped_set_needs_no_preparation(capsys, without_tensorflow):
    prepare.prepare(['mnist_mini'])
    assert 'ships with bioprop' in capsys.readouterr().out


def test_the_folder_is_the_one_that_training_reads(tmp_path, monkeypatch, capsys):
    write_set(tmp_path, 'mnist', '3.0.1', 'array_record')
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    prepare.prepare(['mnist'])
    assert tfds_arrays.builder('mnist').data_dir in capsys.readouterr().out


# --- The real builder of MNIST, on 60 + 20 images --------------------------------------------


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """A folder with MNIST's four original files, small, and the arrays in them."""
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.image_classification import mnist

    folder, arrays, known = tmp_path / 'originals', {}, {}
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, prefix, count in (('train', 'train', 60), ('test', 't10k', 20)):
        images = generator.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        arrays[split] = images, labels
        for kind, header, content in (
            ('images-idx3', struct.pack('>iiii', 2051, count, 28, 28), images),
            ('labels-idx1', struct.pack('>ii', 2049, count), labels),
        ):
            path = folder / f'{prefix}-{kind}-ubyte.gz'
            path.write_bytes(gzip.compress(header + content.tobytes()))
            known[mnist._MNIST_URL + path.name] = checksums.compute_url_info(path)
    monkeypatch.setattr(mnist.MNIST, 'url_infos', known)
    monkeypatch.setattr(mnist, '_TRAIN_EXAMPLES', 60)
    monkeypatch.setattr(mnist, '_TEST_EXAMPLES', 20)
    return folder, arrays


def as_set(images, labels):
    """The examples whatever their order: the builder shuffles them."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


@needs_tensorflow
def test_the_real_builder_writes_what_training_reads(tmp_path, capsys, originals):
    folder, arrays = originals
    prepare.prepare(['mnist'], str(tmp_path / 'sets'), manual_dir=str(folder))
    assert '60 train, 20 test examples, array_record' in capsys.readouterr().out
    splits, classes = tfds_arrays.load('mnist', str(tmp_path / 'sets'))
    assert classes == 10
    for split, (images, labels) in arrays.items():
        assert as_set(*splits[split]) == as_set(images, labels)


@needs_tensorflow
def test_a_file_that_is_not_the_published_one_is_refused(tmp_path, originals):
    folder, _ = originals
    changed = folder / 't10k-labels-idx1-ubyte.gz'
    changed.write_bytes(changed.read_bytes() + b'x')
    with pytest.raises(UserError, match=r'wrong checksum[\s\S]*delete it and fetch it again'):
        prepare.prepare(['mnist'], str(tmp_path / 'sets'), manual_dir=str(folder))
    assert not (tmp_path / 'sets' / 'mnist' / '3.0.1').exists()


@needs_tensorflow
def test_a_set_to_be_fetched_by_hand_says_what_and_where(tmp_path):
    with pytest.raises(UserError, match=r'ILSVRC2012_img_train\.tar[\s\S]*--manual_dir=FOLDER'):
        prepare.prepare(['imagenet2012'], str(tmp_path))


def failing_with(error):
    def download_and_prepare(*args, **kwargs):
        raise error

    return download_and_prepare


@needs_tensorflow
def test_a_site_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    import requests

    fail = failing_with(requests.ConnectionError('cannot resolve host'))
    monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', fail)
    with pytest.raises(UserError) as raised:
        prepare.prepare(['cifar10'], str(tmp_path))
    said = str(raised.value)
    assert 'cifar10: cannot resolve host' in said
    assert 'cifar-10-binary.tar.gz' in said
    assert '--manual_dir=FOLDER' in said
    assert str(tmp_path / 'cifar10') in said


@needs_tensorflow
@pytest.mark.parametrize('kind', [OSError, RuntimeError])
def test_a_full_disk_says_what_to_do(tmp_path, monkeypatch, kind):
    fail = failing_with(kind(f'writing train: {os.strerror(errno.ENOSPC)}'))
    monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', fail)
    with pytest.raises(UserError, match=r'No space left on device[\s\S]*--data_dir=DIR'):
        prepare.prepare(['mnist'], str(tmp_path))


@needs_tensorflow
def test_an_error_of_the_builder_itself_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, 'download_and_prepare', failing_with(ZeroDivisionError())
    )
    with pytest.raises(ZeroDivisionError):
        prepare.prepare(['mnist'], str(tmp_path))
