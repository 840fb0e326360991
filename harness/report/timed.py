"""Interleaved timings at the sizes of a setting's cells: the only times that two methods are compared by.

A cell is timed in a process of its own, so two cells differ by whatever else the machine did meanwhile. In a
timing record all methods took turns in one process; rounds are pairs and bear a ratio with an interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.frame import Defaults, canonical
from harness.report.points import at, rows_of
from harness.report.style import ordered
from harness.stats.ratios import Ratio, paired_ratio
from harness.timing.frame import labels_of
from harness.timing.records import PHASES, Phase, Timed, TimingRecord

_SHARED = ("task", "task_version", "backbone", "dtype", "device", "view_seed")


@dataclass(frozen=True, kw_only=True)
class TimedSize:
    """One size at which methods of a setting were timed in turns, with the weights of its cells."""

    record: TimingRecord
    times: dict[str, Timed]
    """By label, in the order of legends; those without cells here are left out."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        key = self.record.key
        return key.frames, key.height, key.width

    @property
    def base(self) -> str:
        """The method that the others are divided by: the first in the order of legends."""
        return next(iter(self.times))

    def ratio(self, phase: Phase, first: str, second: str) -> Ratio:
        """The first method's time over the second's: the median over rounds with its 95 % interval."""
        return paired_ratio(*(self.times[name].phases[phase].raw_ms for name in (first, second)))

    def faster(self, phase: Phase, first: str, second: str) -> bool:
        """Whether the interval of the ratio tells that the first takes less time."""
        return first != second and self.ratio(phase, first, second).high < 1

    def fastest(self, phase: Phase) -> tuple[str, list[str]]:
        """Who takes the least time, and those that cannot be told from it."""
        best = min(self.times, key=lambda label: self.ratio(phase, label, self.base).ratio)
        others = [label for label in self.times if label != best]
        return best, [label for label in others if not self.faster(phase, best, label)]


def timed_sizes(
    cells: pd.DataFrame, timings: Sequence[TimingRecord], defaults: Defaults
) -> tuple[TimedSize, ...]:
    """The sizes of one setting's ``cells`` that two of its methods or more were timed at, one record a size.

    Task and its settings, backbone, precision, device, frame sampler and each method's weights are those of
    the cells. Where several records fit, the one with the most methods is taken, then the most rounds.
    """
    if not len(cells):
        return ()
    setting = rows_of(cells.iloc[:1])[0]
    found: dict[tuple[int, int, int], TimedSize] = {}
    for record, labels in zip(timings, labels_of(timings, defaults), strict=True):
        if _same(record, setting):
            one = _matched(record, labels, cells)
            known = found.get(one.place)
            if len(one.times) > 1 and (known is None or _weight(one) > _weight(known)):
                found[one.place] = one
    return tuple(found[place] for place in sorted(found, key=lambda place: (place[1] * place[2], *place)))


def _weight(size: TimedSize) -> tuple[int, int]:
    return len(size.times), size.record.rounds


def _same(record: TimingRecord, setting: Mapping[str, object]) -> bool:
    shared = {name: getattr(record.key, name) for name in _SHARED}
    shared["task_config"] = canonical(record.key.task_config)
    return all(setting[name] == value for name, value in shared.items())


def _matched(record: TimingRecord, labels: Sequence[str], cells: pd.DataFrame) -> TimedSize:
    here = at(cells, (record.key.frames, record.key.height, record.key.width))
    names = dict(zip(here["method"], here["method_name"], strict=True))
    weights = set(zip(here["method"], here["weights"], strict=True))
    times = {
        label: outcome
        for label, method, outcome in zip(labels, record.key.methods, record.outcomes, strict=True)
        if isinstance(outcome, Timed)
        and (label, method.weights) in weights
        and {*PHASES} <= {*outcome.phases}
    }
    order = ordered([(label, names[label]) for label in times])
    return TimedSize(record=record, times={label: times[label] for label in order})
