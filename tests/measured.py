"""Measures of a cell whose phases all fitted."""

from __future__ import annotations

from harness.records import Measures, Memory, Timing


def memory_of(measures: Measures) -> Memory:
    assert measures.memory is not None
    return measures.memory


def known(timing: Timing | None) -> Timing:
    assert timing is not None
    return timing
