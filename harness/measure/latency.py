"""Wall-clock times of the phases at batch 1: raw samples after a full-size warm-up, apart from memory.

The garbage collector is off while samples are taken; on CUDA the device is synchronised at both ends of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.measure.collector import collector_off
from harness.measure.views import pixels_of
from harness.measure.workload import Workload, synchronize
from harness.records import Latency, Timing

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

WARM_UPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """A phase is repeated until it has ``least`` samples and ``budget_s`` of them, at most ``most``."""

    least: int = 7
    most: int = 30
    budget_s: float = 0.5


def measure_latency(workload: Workload, repeats: Repeats | None = None) -> Latency:
    """Time encode, prefill, the last frame's append and a decoding step.

    With one frame the append goes to a session that holds no frame yet; a model that cannot be streamed has
    no time per frame.
    """
    model, device = workload.model, workload.features.device
    pixels = pixels_of(workload.stream.frames).to(device)
    per_frame = None
    decoding = workload.asked()
    repeats = repeats or Repeats()
    if model.not_streamed is None:
        others = workload.before_last_frame()
        per_frame = collect(workload.append_last_frame, device, others.fork, repeats)
    return Latency(
        encode=collect(model.encode, device, lambda: pixels, repeats),
        prefill=collect(workload.prefill, device, model.session, repeats),
        per_frame=per_frame,
        per_token=collect(type(decoding).step, device, lambda: decoding, repeats),
    )


def collect(
    section: Callable[[T], object], device: torch.device, prepare: Callable[[], T], repeats: Repeats
) -> Timing:
    """Time ``section(prepare())`` repeatedly; ``prepare`` is not timed."""
    for _ in range(WARM_UPS):
        section(prepare())
    raw_ns: list[int] = []
    spent_ns = 0
    with collector_off():
        while len(raw_ns) < repeats.least or (
            spent_ns < repeats.budget_s * 1e9 and len(raw_ns) < repeats.most
        ):
            given = prepare()
            synchronize(device)
            begin = time.perf_counter_ns()
            section(given)
            synchronize(device)
            raw_ns.append(time.perf_counter_ns() - begin)
            spent_ns += raw_ns[-1]
    return Timing(raw_ms=tuple(nanoseconds / 1e6 for nanoseconds in raw_ns))
