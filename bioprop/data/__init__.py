"""Data sets, read without TensorFlow."""
