"""Benchmarks: each a module with `cases(flags)`, run by `experiments.benchmark`."""
