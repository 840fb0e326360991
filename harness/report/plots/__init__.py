"""Plots as plain data (:mod:`.model`), made from frames and records by pure functions."""

from harness.report.plots.memory import memory_by_kind

__all__ = ["memory_by_kind"]
