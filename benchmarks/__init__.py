"""Benchmarks of Postroom against servers of the same kind, in the same run: `python -m benchmarks`."""
