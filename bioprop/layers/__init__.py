"""Layers: pure functions on one stage of a network."""

from bioprop.layers.base import ACTIVATIONS, Activation, Layer, add_bias
from bioprop.layers.convolution import convolution
from bioprop.layers.dense import dense
from bioprop.layers.locally_connected import locally_connected
from bioprop.layers.window import Window, window

__all__ = [
    'ACTIVATIONS', 'Activation', 'Layer', 'Window', 'add_bias', 'convolution', 'dense',
    'locally_connected', 'window',
]  # fmt: skip
