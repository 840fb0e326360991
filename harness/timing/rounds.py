"""Rounds: in each, every method runs every phase once, in an order drawn anew.

What slows the machine down for a while slows down all methods of the rounds it lasts, so ratios within a
round keep clear of it. A method that fails leaves the rounds; the others go on.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.collector import collector_off
from harness.measure.latency import WARM_UPS, Section, elapsed_ns
from harness.records import Failed
from harness.timing.records import PHASES, MethodOutcome, Phase, Rounds, Timed
from harness.worker import failed_by

LEAST_TICKS = 1000
"""Of the clock in one timed stretch, so that reading the clock is off by at most a thousandth."""

Sections = Mapping[str, Section[Any]]
Progress = Callable[[str], None]


@dataclass
class _Subject:
    sections: Sections = field(default_factory=dict)
    warm_ns: dict[Phase, int] = field(default_factory=dict)
    raw_ns: dict[Phase, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    failed: Failed | None = None


def interleave(
    makers: Mapping[str, Callable[[], Sections]],
    device: torch.device,
    *,
    rounds: int,
    order_seed: int,
    progress: Progress,
    tick_ns: int | None = None,
) -> dict[str, MethodOutcome]:
    """Time what the makers make, by name: the same phases each.

    Right before each timed stretch the same method runs the same phase once outside of the clock, so that the
    caches hold its own data and not that of the method before it, as they would in use. ``tick_ns`` is the
    clock's resolution, measured by default.
    """
    subjects = {name: _Subject() for name in makers}
    for name, subject in subjects.items():
        progress(f"warming up {name}")
        _guard(subject, device, partial(_warm_up, subject, makers[name], device))
    rng = np.random.default_rng(order_seed)
    tick = clock_tick_ns() if tick_ns is None else tick_ns
    inner = {phase: _inner(subjects.values(), phase, tick) for phase in PHASES}
    everyone = list(subjects.values())
    for round_ in range(rounds):
        # Said once a round: whoever hears it would be at work beside what is timed.
        progress(f"round {round_ + 1} of {rounds}")
        with collector_off():
            for phase in PHASES:
                for index in rng.permutation(len(everyone)).tolist():
                    subject = everyone[index]
                    if subject.failed is None:
                        _guard(subject, device, partial(_take, subject, phase, device, inner[phase]))
    return {name: _outcome(subject, inner) for name, subject in subjects.items()}


def clock_tick_ns() -> int:
    """The smallest step, in nanoseconds, that the clock was seen to make."""
    readings = [time.perf_counter_ns() for _ in range(10_000)]
    return min(b - a for a, b in itertools.pairwise(readings) if b > a)


def _guard(subject: _Subject, device: torch.device, work: Callable[[], None]) -> None:
    """Run a part of one method; its exception is that method's outcome, and frees what the method held."""
    try:
        work()
    except Exception as error:
        subject.failed = failed_by(error)
        subject.sections = {}
    if subject.failed is not None and device.type == "cuda":
        torch.cuda.empty_cache()


def _warm_up(subject: _Subject, make: Callable[[], Sections], device: torch.device) -> None:
    subject.sections = make()
    for phase in PHASES:
        subject.warm_ns[phase] = min(elapsed_ns(subject.sections[phase], device) for _ in range(WARM_UPS))


def _take(subject: _Subject, phase: Phase, device: torch.device, inner: int) -> None:
    section = subject.sections[phase]
    section.run(section.prepare())
    subject.raw_ns[phase].append(elapsed_ns(section, device, inner) / inner)


def _inner(subjects: Iterable[_Subject], phase: Phase, tick_ns: int) -> int:
    """Repetitions that the quickest method needs; all take as many, so that all are treated alike."""
    warm = [subject.warm_ns[phase] for subject in subjects if subject.failed is None]
    return max(1, math.ceil(LEAST_TICKS * tick_ns / max(min(warm), tick_ns))) if warm else 1


def _outcome(subject: _Subject, inner: Mapping[Phase, int]) -> MethodOutcome:
    if subject.failed is not None:
        return subject.failed
    phases = {
        phase: Rounds(raw_ms=tuple(ns / 1e6 for ns in raw), inner=inner[phase])
        for phase, raw in subject.raw_ns.items()
    }
    return Timed(phases=phases)
