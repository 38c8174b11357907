"""Encoded images to crops of one size: decoding, random and central crops, antialiased resizing.

Pure functions on 8-bit pixels. In between the channels stand as OpenCV has them, BGR; what comes
out is RGB, of grey and CMYK images too.
"""

import math

import cv2
import numpy as np

cv2.setNumThreads(0)  # the threads are the caller's: one image to each

AREA = 0.08, 1.0  # of the image, that a random crop covers
RATIO = 3 / 4, 4 / 3  # of its width to its height
TRIES = 10
RESIZED = 256 / 224  # shorter side to the crop's, in evaluation

# How a file begins, and what marks its pixels and its end. JPEG; PNG.
FORMATS = {b'\xff\xd8': (b'\xff\xda', b'\xff\xd9'), b'\x89P': (b'IDAT', b'IEND')}
# As TensorFlow and Pillow decode: whatever the camera said about up and down is not looked at.
COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class Undecodable(ValueError):
    """An image cannot be decoded, or not as a whole."""


def training_crop(
    data: bytes, generator: np.random.Generator, size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """A random crop, mirrored half of the time.

    uint8 (size, size, 3), RGB, written to out if given. It covers 8 to 100 % of the image, with a
    ratio of width to height from 3/4 to 4/3, as is usual on ImageNet. Raises Undecodable.
    """
    image = decode(data)
    top, left, height, width = random_box(generator, *image.shape[:2])
    image = resize(image[top : top + height, left : left + width], size, size)
    if generator.random() < 0.5:
        image = cv2.flip(image, 1)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out)


def evaluation_crop(data: bytes, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """The centre of the image with its shorter side resized to size * 256 / 224.

    uint8 (size, size, 3), RGB, written to out if given. Raises Undecodable.
    """
    image = decode(data)
    height, width = image.shape[:2]
    scale = round(size * RESIZED) / min(height, width)
    image = resize(image, round(scale * height), round(scale * width))
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return cv2.cvtColor(image[top : top + size, left : left + size], cv2.COLOR_BGR2RGB, dst=out)


def decode(data: bytes) -> np.ndarray:
    """uint8 (height, width, 3), BGR. Raises Undecodable, also for a file that is cut short."""
    pixels, end = FORMATS.get(data[:2], (b'', b''))
    # Bytes may follow the end, and a thumbnail, which has an end too, go before the pixels.
    if not data.endswith(end) and data.rfind(end) < data.rfind(pixels):
        raise Undecodable('it is cut short')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), COLOUR)
    except cv2.error as error:
        raise Undecodable(error.err) from error
    if image is None:
        raise Undecodable('it cannot be decoded')
    return image


def random_box(
    generator: np.random.Generator, height: int, width: int
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop; the largest in the centre if TRIES do not fit."""
    for _ in range(TRIES):
        area = height * width * generator.uniform(*AREA)
        ratio = math.exp(generator.uniform(*map(math.log, RATIO)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            top, left = generator.integers(0, (height - h + 1, width - w + 1))
            return int(top), int(left), h, w
    h, w = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image (h, w, 3) with sides of these lengths.

    A side that shrinks is averaged over the area of each new pixel, one that grows is interpolated.
    """
    h, w = min(height, image.shape[0]), min(width, image.shape[1])
    if (h, w) != image.shape[:2]:
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    if (h, w) != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image
