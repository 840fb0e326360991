"""Wall-clock times of the phases at batch 1: raw samples after a full-size warm-up, apart from memory.

A phase is repeated until it has at least ``LEAST`` samples and half a second of them, at most ``MOST``. The
garbage collector is off while a sample is taken, and on CUDA the device is synchronised at both ends of it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from harness.measure.views import pixels_of
from harness.measure.workload import Workload, synchronize
from harness.records import Latency, Timing

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

LEAST, MOST, BUDGET_S = 7, 30, 0.5
WARM_UPS = 2


def measure_latency(workload: Workload) -> Latency:
    """Time encode, prefill, the last frame's append and a decoding step."""
    model, device = workload.model, workload.features.device
    pixels = pixels_of(workload.stream.frames).to(device)
    others = workload.before_last_frame()
    decoding = workload.asked()
    return Latency(
        encode=collect(model.encode, device, lambda: pixels),
        prefill=collect(workload.prefill, device, model.session),
        per_frame=collect(workload.append_last_frame, device, others.fork),
        per_token=collect(type(decoding).step, device, lambda: decoding),
    )


def collect(
    section: Callable[[T], object],
    device: torch.device,
    prepare: Callable[[], T],
    *,
    least: int = LEAST,
    most: int = MOST,
    budget_s: float = BUDGET_S,
) -> Timing:
    """Time ``section(prepare())`` repeatedly; ``prepare`` is not timed."""
    for _ in range(WARM_UPS):
        section(prepare())
    raw_ns: list[int] = []
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        while len(raw_ns) < least or (sum(raw_ns) < budget_s * 1e9 and len(raw_ns) < most):
            given = prepare()
            synchronize(device)
            begin = time.perf_counter_ns()
            section(given)
            synchronize(device)
            raw_ns.append(time.perf_counter_ns() - begin)
    finally:
        if was_on:
            gc.enable()
    return Timing(raw_ms=tuple(nanoseconds / 1e6 for nanoseconds in raw_ns))
