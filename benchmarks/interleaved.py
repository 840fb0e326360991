"""Two ways of doing the same, timed side by side in one process: ratios of repetitions that hold both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from harness.collector import collector_off

Run = Callable[[], object]
Prepared = Callable[[], Run]
"""Makes what a repetition consumes, outside of its time, and returns the repetition."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and quartiles of the ratios of repetitions."""

    median: float
    low: float
    high: float
    repetitions: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def processor_seconds(run: Run) -> float:
    """Processor time of the whole process: other processes do not count, as they would in wall-clock time."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def compare(ours: Prepared, theirs: Prepared, least_s: float, repetitions: int) -> Ratio:
    """The ratio ours / theirs over at least ``repetitions`` and ``least_s`` seconds of them.

    A repetition is theirs, ours, ours, theirs, since what runs first leaves the caches to what follows. One
    run of each warms up.
    """
    ours()()
    theirs()()
    ratios: list[float] = []
    begin = time.perf_counter()
    with collector_off():
        while len(ratios) < repetitions or time.perf_counter() - begin < least_s:
            outer = processor_seconds(theirs())
            inner = processor_seconds(ours()) + processor_seconds(ours())
            ratios.append(inner / (outer + processor_seconds(theirs())))
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(median, low, high, len(ratios))
