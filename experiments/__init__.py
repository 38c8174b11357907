"""Launchers: what is run with bioprop, beyond one training run."""
