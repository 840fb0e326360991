"""Benchmarks of the harness itself: plain scripts, run from a checkout as ``python -m benchmarks.NAME``."""
