"""Images on a device, and how their pixels become the inputs of a minibatch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.data.sets import Part
from bioprop.training.parallel import place_on

INPUTS = ('standardised', 'unit', 'on_off')


class Images(NamedTuple):
    """A set of images on the device, and how its pixels become inputs.

    With a mean of twice as many channels the inputs are on and off channels: see `scaling`.
    """

    image: jax.Array  # (examples, height, width, channels), uint8
    label: jax.Array | None  # (examples,), int32; None where the input is to be reconstructed
    mean: jax.Array  # (channels,) or (2 * channels,), in pixel units
    std: jax.Array

    def at(self, places: jax.Array) -> 'Images':
        """Those at `places`."""
        label = None if self.label is None else self.label[places]
        return self._replace(image=self.image[places], label=label)

    def batch(
        self, augment: Callable[[jax.Array], jax.Array] | None = None
    ) -> dict[str, jax.Array]:
        """The inputs, standardised; augment changes the pixels before that."""
        pixels = augment(self.image) if augment else self.image
        pixels = pixels.astype(self.mean.dtype)
        doubled = len(self.mean) == 2 * pixels.shape[-1]
        pixels = jnp.concatenate([pixels, pixels], axis=-1) if doubled else pixels
        mean, std = (jnp.broadcast_to(x, pixels.shape) for x in (self.mean, self.std))
        image = (pixels - mean) / std
        image = jax.nn.relu(image) if doubled else image
        label = image.reshape(len(image), -1) if self.label is None else self.label
        return {'image': image, 'label': label}


def numbered(images: Images, axis_name: str | None) -> dict[str, jax.Array]:
    """A device's share of a batch, with the places of its examples in the whole."""
    _, device = place_on(axis_name)
    share = len(images.image)
    return images.batch() | {'index': device * share + jnp.arange(share)}


def scaling(
    inputs: str, mean: np.ndarray, std: np.ndarray, train: Part
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std) that make pixels the inputs of that kind, from those that standardise them.

    On and off channels are the parts of the training images above and below their means; those of
    grey images, which are not standardised, are taken here.
    """
    if inputs == 'unit':
        return np.zeros_like(mean), np.full_like(std, 255)
    if inputs == 'on_off':
        if not mean.any():
            mean, std = (np.full_like(mean, of(train.image)) for of in (np.mean, np.std))
        return np.concatenate([mean, mean]), np.concatenate([std, -std])
    return mean, std
