"""Interleaved timings at the sizes of a setting's cells: the only times that two methods are compared by.

A cell is timed in a process of its own, so two cells differ by whatever else the machine did meanwhile. In a
timing record all methods took turns in one process; rounds are pairs and bear a ratio with an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.records import Failed
from harness.report.labels import Defaults, canonical, resolution_label
from harness.report.points import Over, at, rows_of
from harness.report.style import ordered
from harness.stats.ratios import Ratio, paired_ratio
from harness.timing.frame import labels_of
from harness.timing.records import PHASES, Phase, Timed, TimingRecord

_SHARED = ("task", "task_version", "backbone", "dtype", "device", "view_seed")
LEAST_SIZES = 3
"""With fewer that bear a time there is no curve of times in turns."""


@dataclass(frozen=True, kw_only=True)
class TimedSize:
    """One size at which methods of a setting were timed in turns, with the weights of its cells."""

    record: TimingRecord
    times: dict[str, Timed]
    """By label, in the order of legends; those without cells are left out."""
    failed: dict[str, Failed] = field(default_factory=dict)
    """The same for methods that failed here."""

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
            one = _matched(
                record, labels, at(cells, (record.key.frames, record.key.height, record.key.width))
            )
            known = found.get(one.place)
            if len(one.times) > 1 and (known is None or _weight(one) > _weight(known)):
                found[one.place] = one
    return tuple(found[place] for place in sorted(found, key=lambda place: (place[1] * place[2], *place)))


def timed_curves(
    cells: pd.DataFrame, timings: Sequence[TimingRecord], defaults: Defaults, over: Over
) -> dict[object, tuple[TimedSize, ...]]:
    """What one setting's methods were timed at in turns, by resolution for curves over frames and reversed.

    Everything but the size is as in :func:`timed_sizes`: a size may have no cell, since weights are the same
    at all sizes. A curve has three sizes or more and is of one series of records, which differ in their size
    alone; where several fit, that with the most times is taken, then the most rounds.
    """
    series: dict[tuple[object, str], list[TimedSize]] = {}
    for one in _with_weights(cells, timings, defaults):
        frames, height, width = one.place
        other: object = resolution_label(height, width) if over == "frames" else frames
        series.setdefault((other, one.record.key.series), []).append(one)
    curves: dict[object, tuple[TimedSize, ...]] = {}
    for (other, _), sizes in series.items():
        known = curves.get(other, ())
        if sum(bool(one.times) for one in sizes) >= LEAST_SIZES and _times(sizes) > _times(known):
            curves[other] = tuple(sorted(sizes, key=lambda one: one.place))
    return curves


def _with_weights(
    cells: pd.DataFrame, timings: Sequence[TimingRecord], defaults: Defaults
) -> Iterator[TimedSize]:
    """Records of two methods or more that have cells with the same weights at any size."""
    if not len(cells):
        return
    setting = rows_of(cells.iloc[:1])[0]
    for record, labels in zip(timings, labels_of(timings, defaults), strict=True):
        if _same(record, setting):
            one = _matched(record, labels, cells)
            if len(one.times) + len(one.failed) > 1:
                yield one


def _times(sizes: Sequence[TimedSize]) -> tuple[int, int]:
    return sum(len(one.times) for one in sizes), sum(one.record.rounds for one in sizes)


def _weight(size: TimedSize) -> tuple[int, int]:
    return len(size.times), size.record.rounds


def _same(record: TimingRecord, setting: Mapping[str, object]) -> bool:
    shared = {name: getattr(record.key, name) for name in _SHARED}
    shared["task_config"] = canonical(record.key.task_config)
    return all(setting[name] == value for name, value in shared.items())


def _matched(record: TimingRecord, labels: Sequence[str], cells: pd.DataFrame) -> TimedSize:
    """The methods that have a cell with these weights among ``cells``."""
    names = dict(zip(cells["method"], cells["method_name"], strict=True))
    weights = set(zip(cells["method"], cells["weights"], strict=True))
    outcomes = {
        label: outcome
        for label, method, outcome in zip(labels, record.key.methods, record.outcomes, strict=True)
        if (label, method.weights) in weights
    }
    times: dict[str, Timed] = {}
    failed: dict[str, Failed] = {}
    for label in ordered([(label, names[label]) for label in outcomes]):
        outcome = outcomes[label]
        if isinstance(outcome, Failed):
            failed[label] = outcome
        elif {*PHASES} <= {*outcome.phases}:
            times[label] = outcome
    return TimedSize(record=record, times=times, failed=failed)
