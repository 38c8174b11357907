"""Images on a device, and how their pixels become the inputs of a minibatch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bioprop.training.parallel import place_on


class Images(NamedTuple):
    """A set of images on the device, and how its pixels become inputs."""

    image: jax.Array  # (examples, height, width, channels), uint8
    label: jax.Array | None  # (examples,), int32; None where the input is to be reconstructed
    mean: jax.Array  # (channels,), in pixel units
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
        mean, std = (jnp.broadcast_to(x, pixels.shape) for x in (self.mean, self.std))
        image = (pixels - mean) / std
        label = image.reshape(len(image), -1) if self.label is None else self.label
        return {'image': image, 'label': label}


def numbered(images: Images, axis_name: str | None) -> dict[str, jax.Array]:
    """A device's share of a batch, with the places of its examples in the whole."""
    _, device = place_on(axis_name)
    share = len(images.image)
    return images.batch() | {'index': device * share + jnp.arange(share)}
