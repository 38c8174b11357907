"""Crops against NumPy's area and linear interpolation of Pillow's pixels; what is cut short."""

import io
import math

import chex
import numpy as np
import pytest
from PIL import Image

from bioprop.data import crops


def smooth(height, width, seed=0):
    """An image of low frequencies, so that JPEG keeps it."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind='JPEG', **options):
    file = io.BytesIO()
    image.save(file, kind, **{'quality': 95} | options)
    return file.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'), np.float64)


def weights(old, new):
    """(new, old): each new pixel is the mean over its area, or interpolated between two centres."""
    scale = old / new
    if scale >= 1:
        edges = np.arange(new)[:, None] * scale
        low, high = np.maximum(edges, np.arange(old)), np.minimum(edges + scale, np.arange(old) + 1)
        return np.maximum(high - low, 0) / scale
    centres = np.clip((np.arange(new) + 0.5) * scale - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(centres[:, None] - np.arange(old)), 0)


def resized(image, height, width):
    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum('yh,hwc,xw->yxc', rows, image, columns)


def assert_near(found, expected):
    """Within the rounding of two resizings, and of Pillow's decoder."""
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2.6


@pytest.mark.parametrize('old', [(60, 80), (61, 83), (20, 24), (60, 20), (31, 37)])
@pytest.mark.parametrize('new', [(30, 40), (31, 37), (50, 61)])
def test_resizing_is_the_mean_over_areas_or_linear(old, new):
    image = np.asarray(smooth(*old))
    assert_near(crops.resize(image, *new), resized(image.astype(float), *new))


@pytest.mark.parametrize(('side', 'tolerance'), [(64, 1), (128, 1), (143, 0.5 * 255 / 4)])
def test_a_fine_checkerboard_shrinks_to_grey(side, tolerance):
    board = np.indices((side, side)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    found = crops.resize(image, 32, 32).astype(float)
    assert np.abs(found - 127.5).max() <= tolerance


@pytest.mark.parametrize(('height', 'width'), [(100, 150), (150, 100), (33, 40), (64, 64)])
def test_the_evaluation_crop_is_the_centre(height, width):
    data, size = encoded(smooth(height, width)), 28
    scale = 32 / min(height, width)
    whole = resized(pixels(data), round(scale * height), round(scale * width))
    top, left = (whole.shape[0] - size) // 2, (whole.shape[1] - size) // 2
    assert_near(crops.evaluation_crop(data, size), whole[top : top + size, left : left + size])


@pytest.mark.parametrize('seed', range(6))
def test_the_training_crop_is_a_resized_box(seed):
    data, size = encoded(smooth(90, 60, seed)), 32
    generator = np.random.default_rng(seed)
    top, left, height, width = crops.random_box(generator, 90, 60)
    expected = resized(pixels(data)[top : top + height, left : left + width], size, size)
    if generator.random() < 0.5:
        expected = expected[:, ::-1]
    found = crops.training_crop(data, np.random.default_rng(seed), size)
    assert_near(found, expected)
    out = np.zeros((2, size, size, 3), np.uint8)
    crops.training_crop(data, np.random.default_rng(seed), size, out=out[1])
    chex.assert_trees_all_equal(out[1], found)
    assert not out[0].any()


def test_boxes_have_the_areas_and_ratios_that_are_usual():
    height, width, generator = 300, 400, np.random.default_rng(0)
    boxes = np.array([crops.random_box(generator, height, width) for _ in range(4000)])
    top, left, h, w = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    area, ratio = h * w / (height * width), w / h
    assert 0.07 < area.min() < 0.09
    assert 0.97 < area.max() <= 1
    assert 0.74 < ratio.min() < 0.77
    assert 1.31 < ratio.max() < 1.35
    small = area < 0.4  # always fit: areas uniform, ratios uniform in the logarithm
    assert abs(area[small].mean() - 0.24) < 4 * 0.32 / math.sqrt(12 * small.sum())
    spread = math.log(16 / 9) / math.sqrt(12 * small.sum())
    assert abs(np.log(ratio[small]).mean()) < 4 * spread
    free = (top / np.maximum(height - h, 1))[small]
    assert abs(free.mean() - 0.5) < 4 / math.sqrt(12 * small.sum())


@pytest.mark.parametrize(
    ('shape', 'box'), [((10, 1000), (0, 493, 10, 13)), ((1000, 9), (494, 0, 12, 9))]
)
def test_a_box_that_never_fits_is_the_largest_in_the_centre(shape, box):
    assert crops.random_box(np.random.default_rng(0), *shape) == box


def test_half_of_the_crops_are_mirrored():
    ramp = np.repeat(np.linspace(0, 255, 64)[None, :, None], 64, 0).repeat(3, 2).astype(np.uint8)
    data = encoded(Image.fromarray(ramp), 'PNG')
    found = [crops.training_crop(data, np.random.default_rng(i), 8) for i in range(1000)]
    mirrored = sum(int(image[0, 0, 0]) > int(image[0, -1, 0]) for image in found)
    assert abs(mirrored - 500) < 4 * math.sqrt(1000 / 4)


@pytest.mark.parametrize('mode', ['L', 'CMYK', 'RGB'])
def test_jpegs_of_every_kind_come_out_as_rgb(mode):
    data = encoded(smooth(32, 32).convert(mode))
    assert_near(crops.evaluation_crop(data, 28), pixels(data)[2:30, 2:30])


def test_png_comes_out_as_rgb():
    data = encoded(smooth(32, 32), 'PNG')
    chex.assert_trees_all_equal(crops.evaluation_crop(data, 28), pixels(data)[2:30, 2:30])


def test_the_way_up_of_the_camera_is_not_looked_at():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image = smooth(32, 48)
    turned, plain = encoded(image, exif=exif), encoded(image)
    chex.assert_trees_all_equal(crops.evaluation_crop(turned, 28), crops.evaluation_crop(plain, 28))


def with_thumbnail(data):
    """A JPEG with another, whole, in its header."""
    thumbnail = encoded(smooth(16, 16))
    return data[:2] + b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2) + thumbnail + data[2:]


@pytest.mark.parametrize('thumbnail', [False, True])
@pytest.mark.parametrize('progressive', [False, True])
def test_a_jpeg_that_is_cut_short_is_damaged_at_every_length(thumbnail, progressive, monkeypatch):
    """Whatever OpenCV makes of it: older ones fill up with grey."""
    data = encoded(smooth(64, 64), progressive=progressive)
    data = with_thumbnail(data) if thumbnail else data
    crops.decode(data)
    pixels_begin = data.rfind(b'\xff\xda')
    grey = np.full((64, 64, 3), 128, np.uint8)
    monkeypatch.setattr(crops.cv2, 'imdecode', lambda *_: grey)
    for cut in range(pixels_begin + 2, len(data)):
        with pytest.raises(crops.Undecodable, match='cut short'):
            crops.decode(data[:cut])
    for trailing in (b'', b'\0' * 7, b'\n', b'whatever'):
        assert crops.decode(data + trailing) is grey


@pytest.mark.parametrize('data', [b'', b'\xff', b'no image at all', b'\xff\xd8\xff\xd9'])
def test_what_is_no_image_is_damaged(data):
    with pytest.raises(crops.Undecodable):
        crops.decode(data)


def test_a_png_that_is_cut_short_is_damaged():
    data = encoded(smooth(64, 64), 'PNG')
    for cut in (3, len(data) // 2, len(data) - 9):
        with pytest.raises(crops.Undecodable):
            crops.decode(data[:cut])
