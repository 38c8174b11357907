"""How pixels become inputs: standardised, in [0, 1], or on and off channels."""

import jax.numpy as jnp
import numpy as np
import pytest

from bioprop.data.sets import Part
from bioprop.running.run import make_run
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.training.images import Images, scaling


def inputs(kind, pixels, mean, std):
    mean, std = scaling(kind, mean, std, Part(pixels, np.zeros(len(pixels), np.int32)))
    images = Images(jnp.asarray(pixels), None, jnp.asarray(mean), jnp.asarray(std))
    return np.asarray(images.batch()['image'])


@pytest.mark.parametrize('channels', [1, 3])
def test_inputs_by_their_kind(channels):
    pixels = np.random.default_rng(0).integers(256, size=(6, 4, 5, channels), dtype=np.uint8)
    grey = channels == 1
    mean = np.zeros(1, np.float32) if grey else pixels.mean((0, 1, 2)).astype(np.float32)
    std = np.full(1, 255, np.float32) if grey else pixels.std((0, 1, 2)).astype(np.float32)
    standard = (pixels - mean) / std
    np.testing.assert_allclose(inputs('standardised', pixels, mean, std), standard, rtol=1e-5)
    np.testing.assert_allclose(inputs('unit', pixels, mean, std), pixels / 255, rtol=1e-6)
    whole = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    on, off = np.split(inputs('on_off', pixels, mean, std), 2, axis=-1)
    assert (on >= 0).all()
    assert (off >= 0).all()
    assert not (on * off).any()
    np.testing.assert_allclose(on - off, whole, rtol=1e-3, atol=1e-4)


def test_a_run_on_on_and_off_channels_has_twice_the_inputs():
    config = paper('mnist_mini', 'bp', 'inputs=on_off,hidden=(8,),batch_size=100')
    run = make_run(resolve(config))
    assert run.learner.network.in_shape == (28, 28, 2)
    assert run.parts['train'].at(jnp.arange(3)).batch()['image'].shape == (3, 28, 28, 2)
