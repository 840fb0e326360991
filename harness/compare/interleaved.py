"""Ratios of times of two methods that were measured in turns, from the timing records of their run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.compare.places import Filters
from harness.compare.sides import Side
from harness.report.labels import default_configs, resolution_label
from harness.store import Problem
from harness.timing.frame import ratios
from harness.timing.records import SYNTHETIC
from harness.timing.store import load_timings


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRatio:
    """The first method's time over the second's at one size, with its 95 % interval over rounds.

    ``low`` and ``high`` are NaN with one round.
    """

    task: str
    frames: int
    resolution: str
    weights: str
    phase: str
    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def told(self) -> bool:
        """Whether the interval excludes 1."""
        return self.low > 1 or self.high < 1


def time_ratios(first: Side, second: Side, filters: Filters) -> tuple[tuple[TimeRatio, ...], list[Problem]]:
    """The ratios at every size that both were timed at in turns, and timing files that do not count.

    None across runs: what was not measured in turns has no ratio.
    """
    if first.run.resolve() != second.run.resolve():
        return (), []
    records, problems = load_timings(first.run)
    wanted = [
        record
        for record in records
        if (not filters.tasks or record.key.task in (*filters.tasks, SYNTHETIC))
        and (not filters.frames or record.key.frames in filters.frames)
        and (not filters.resolutions or (record.key.height, record.key.width) in filters.resolutions)
    ]
    names = {method.method for record in wanted for method in record.key.methods}
    frame = ratios(wanted, default_configs(names))
    found = []
    for row in frame.to_dict("records"):
        turned = (row["first"], row["second"]) == (second.label, first.label)
        if turned or (row["first"], row["second"]) == (first.label, second.label):
            low, high = (1 / row["high"], 1 / row["low"]) if turned else (row["low"], row["high"])
            found.append(
                TimeRatio(
                    task=row["task"],
                    frames=row["frames"],
                    resolution=resolution_label(row["height"], row["width"]),
                    weights=row["weights"],
                    phase=row["phase"],
                    ratio=1 / row["ratio"] if turned else row["ratio"],
                    low=low,
                    high=high,
                    rounds=row["rounds"],
                )
            )
    return tuple(found), problems
