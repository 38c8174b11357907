"""Benchmarks: each a module with `default_batch` and `rows`, run by `experiments.benchmark`."""
