"""Synthetic photographs, as a prepared TFDS set: JPEGs that cost what real ones cost to decode."""

import json
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

NAME, VERSION = 'photographs', '1.0.0'
QUALITY = 90


def photograph(generator: np.random.Generator, size: int) -> np.ndarray:
    """uint8 (size, size, 3): amplitudes fall with the frequency, and channels are much alike."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(generator.standard_normal((3, size, size)))
    luma, blue, red = np.fft.irfft2(noise / frequency**1.15, (size, size))
    image = np.stack([luma + 0.3 * blue, luma - 0.15 * blue - 0.15 * red, luma + 0.3 * red], -1)
    return np.clip(128 + 50 / image.std() * image, 0, 255).astype(np.uint8)


def write(data_dir: Path, count: int, size: int) -> None:
    """A set in array_record: `count` photographs of size x size for training, one for the test."""
    folder = data_dir / NAME / VERSION
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    splits = {'train': count, 'test': 1}
    for split, examples in splits.items():
        path = folder / f'{NAME}-{split}.array_record-00000-of-00001'
        writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
        for _ in range(examples):
            writer.write(_example(photograph(generator, size)))
        writer.close()
    tfds.features.FeaturesDict(
        {'image': tfds.features.Image(), 'label': tfds.features.ClassLabel(num_classes=1000)}
    ).save_config(folder)
    description = {
        'name': NAME,
        'version': VERSION,
        'fileFormat': 'array_record',
        'splits': [
            {
                'name': split,
                'shardLengths': [str(examples)],
                'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
            }
            for split, examples in splits.items()
        ],
    }
    (folder / 'dataset_info.json').write_text(json.dumps(description))


def _example(image: np.ndarray) -> bytes:
    message = tf_example_pb2.Example()
    jpeg = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1]
    message.features.feature['image'].bytes_list.value.append(jpeg.tobytes())
    message.features.feature['label'].int64_list.value.append(0)
    return message.SerializeToString()
