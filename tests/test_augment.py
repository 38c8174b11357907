"""Augmentation: every crop and both flips, as often as each other, drawn for each example."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.data.augment import PAD, crop, crop_and_flip

OFFSETS = range(2 * PAD + 1)
PLACES = list(itertools.product(OFFSETS, OFFSETS, (0, 1)))  # (top, left, flip)


def numpy_crop(image, top, left, flip):
    height, width, _ = image.shape
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    cropped = padded[top : top + height, left : left + width]
    return cropped[:, ::-1] if flip else cropped


def test_a_crop_is_a_part_of_the_padded_image_or_its_mirror_image():
    """At every place, for an image that is not square."""
    image = np.random.default_rng(0).integers(1, 256, (7, 10, 3), dtype=np.uint8)
    cropped = jax.vmap(crop, (None, 0, 0, 0))(jnp.asarray(image), *jnp.array(PLACES).T)
    assert cropped.dtype == np.uint8
    np.testing.assert_array_equal(cropped, [numpy_crop(image, *place) for place in PLACES])


def test_every_crop_and_flip_is_drawn_about_equally_often():
    """100 of each are expected; five standard deviations are 50."""
    image = np.arange(1, 101, dtype=np.uint8).reshape(10, 10, 1)
    count = 100 * len(PLACES)
    images = jnp.broadcast_to(jnp.asarray(image), (count, *image.shape))
    augmented = np.asarray(crop_and_flip(jax.random.key(0), jnp.arange(count), images))
    number = {numpy_crop(image, *place).tobytes(): n for n, place in enumerate(PLACES)}
    assert len(number) == len(PLACES) == 9 * 9 * 2
    drawn = np.bincount([number[x.tobytes()] for x in augmented], minlength=len(PLACES))
    assert drawn.min() > 50
    assert drawn.max() < 150


def test_an_example_is_augmented_by_the_key_and_its_index_alone():
    images = jnp.asarray(np.random.default_rng(0).integers(256, size=(20, 8, 8, 3)), jnp.uint8)
    key, index = jax.random.key(0), jnp.arange(20)
    run, order = jax.jit(crop_and_flip), jnp.flip(index)
    augmented = run(key, index, images)
    np.testing.assert_array_equal(run(key, order, images[order]), augmented[order])
    assert (run(key, index + 1, images) != augmented).any()
    assert (run(jax.random.key(1), index, images) != augmented).any()
