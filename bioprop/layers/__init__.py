"""Layers: pure functions on one stage of a network."""

from bioprop.layers.base import ACTIVATIONS, Activation, Layer, add_bias
from bioprop.layers.dense import dense

__all__ = ['ACTIVATIONS', 'Activation', 'Layer', 'add_bias', 'dense']
