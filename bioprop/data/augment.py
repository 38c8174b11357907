"""Augmentation of training images, on the device."""

import jax
import jax.numpy as jnp

PAD = 4  # pixels of black on each side of an image


def crop_and_flip(key: jax.Array, index: jax.Array, images: jax.Array) -> jax.Array:
    """Random crops of padded images, each mirrored left to right half of the time.

    images are pixels (batch, height, width, channels), and so is what comes back, in the same
    type. Each is padded with PAD pixels of black (0) on every side, the common practice for
    CIFAR-10, and cropped to its own size at one of the (2 PAD + 1)^2 places, all equally likely.

    What an example draws depends on the key and on its `index` (batch,), its place in the global
    batch, hence not on how the batch is spread over devices.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    ends = jnp.array([2 * PAD + 1, 2 * PAD + 1, 2])
    top, left, flip = jax.vmap(lambda k: jax.random.randint(k, (3,), 0, ends))(keys).T
    return jax.vmap(crop)(images, top, left, flip)


def crop(image: jax.Array, top: jax.Array, left: jax.Array, flip: jax.Array) -> jax.Array:
    """One image (height, width, channels), padded, cropped at (top, left) and mirrored if flip.

    The padding is never made: the pixels are looked up where they stand, and black outside.
    """
    height, width, _ = image.shape
    rows = top - PAD + jnp.arange(height)
    columns = left - PAD + jnp.arange(width)
    columns = jnp.where(flip, columns[::-1], columns)
    rows, columns = rows[:, None], columns[None, :]
    pixels = image.at[rows, columns].get(mode='clip', wrap_negative_indices=False)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return jnp.where(inside[..., None], pixels, 0)
