"""One cell: the same scenario counted without a device, and measured on one after a warm-up."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.gpu.cards import Device, workspace_bytes
from benchmarks.gpu.records import (
    Causes,
    Failed,
    GpuRecord,
    Measured,
    Outcome,
    OutOfMemory,
    PhaseRecord,
    write_record,
)
from harness import environment
from harness.attention import kernels_of, recording
from harness.collector import frozen
from harness.counting.building import build
from harness.counting.device import DeviceCounter, Reading, Scratch, ScratchCounter, build_on, refill
from harness.counting.records import CountKey, NotCounted, Peak
from harness.counting.run import count_one
from harness.counting.scenario import watched_run
from harness.counting.shapes import ShapeCache
from harness.measure.counted import CountedMemory, storage_bytes
from harness.vlm import FusedModel

_shapes = ShapeCache()


@dataclass(frozen=True, slots=True)
class Counts:
    """What a scenario should take."""

    peak: Peak
    exact: Mapping[str, int]
    """The phases' peaks before rounding."""


class ExactCounter:
    """Counts a scenario's memory to the byte, and nothing else."""

    def __init__(self, device: str) -> None:
        self.memory = CountedMemory(granule=1, device=device, execute=_shapes if device == "meta" else None)

    def phase(self, name: str) -> None:
        self.memory.begin_phase(name)


def count_cell(key: CountKey) -> Counts | Failed:
    outcome = count_one(key).outcome
    if isinstance(outcome, NotCounted):
        return Failed(message=f"it cannot be counted: {outcome.message}", traceback=outcome.traceback)
    exact = ExactCounter(outcome.peak.substrate)
    with kernels_of(key.kernels):
        watched_run(key, build(key, outcome.peak.substrate), exact)
    return Counts(outcome.peak, exact.memory.phases)


def measure_cells(keys: Sequence[CountKey], device: Device, folder: Path, warmups: int) -> None:
    """Measure cells of one method and backbone with one model; every record is written at once."""
    described, card = environment.describe(device=str(device.device)), device.card()
    workspaces = workspace_bytes(device, getattr(torch, keys[0].dtype))
    bench = _Bench(device, workspaces, warmups)
    with frozen():
        for key in keys:
            started, begin = datetime.now(UTC), time.perf_counter()
            outcome = bench.measure(key)
            record = GpuRecord(
                key=key,
                environment=described,
                card=card,
                warmups=warmups,
                started_at=started.isoformat(timespec="seconds"),
                duration_s=time.perf_counter() - begin,
                outcome=outcome,
            )
            write_record(folder, record)


class _Bench:
    """A device and the model on it, made for the first cell."""

    def __init__(self, device: Device, workspaces: int, warmups: int) -> None:
        self.device, self.workspaces, self.warmups = device, workspaces, warmups
        self.model: FusedModel | None = None
        self.watch: DeviceCounter | ScratchCounter | None = None

    def measure(self, key: CountKey) -> Outcome:
        try:
            counts = count_cell(key)
        except Exception as error:
            return _failed(error)
        if isinstance(counts, Failed):
            return counts
        self.watch = None
        gc.collect()
        self.device.empty()
        try:
            return self._measure(key, counts)
        except torch.OutOfMemoryError as error:
            return OutOfMemory(
                phase="model" if self.watch is None else self.watch.current,
                counted_peak_bytes=counts.peak.peak_bytes,
                message=_first_line(error),
            )
        except Exception as error:
            return _failed(error)

    def _measure(self, key: CountKey, counts: Counts) -> Measured:
        device, allocator = self.device, self.device.allocator
        if self.model is None:
            self.model = build_on(key, device.device)
            device.empty()
        model = self.model
        refill(model)
        with device.running():
            for _ in range(self.warmups):
                self._watched(key, model, DeviceCounter(allocator))
            gc.collect()
            allocator.synchronize()
            resting = allocator.read().requested
            with recording() as seen:
                peaks = DeviceCounter(allocator)
                self._watched(key, model, peaks)
            scratch = ScratchCounter(allocator, device.device.type)
            self._watched(key, model, scratch)
        held = storage_bytes([*model.parameters(), *model.buffers()])
        outside = min(self.workspaces, max(0, resting - held))
        return Measured(
            phases=compare(
                counts, peaks.memory.phases, scratch.memory.phases, scratch.scratch, workspaces=outside
            ),
            resting_bytes=resting,
            model_bytes=held,
            workspace_bytes=self.workspaces,
            routes_counted=counts.peak.routes,
            routes_seen=tuple(sorted({route.rpartition(":")[0] for route in seen})),
        )

    def _watched(self, key: CountKey, model: FusedModel, watch: DeviceCounter | ScratchCounter) -> None:
        self.watch = watch
        watched_run(key, model, watch)


def compare(
    counts: Counts,
    measured: Mapping[str, Reading],
    tensors: Mapping[str, int],
    scratch: Mapping[str, Scratch],
    *,
    workspaces: int,
) -> dict[str, PhaseRecord]:
    """Every phase's allocated and counted peak, and what makes up the difference.

    ``tensors`` are the peaks of the tensors on the device, to the byte. Raises RuntimeError for a device that
    went through other phases than the counter.
    """
    if list(measured) != list(counts.peak.phases):
        raise RuntimeError(f"the device ran {list(measured)}, the counter {list(counts.peak.phases)}")
    records = {}
    for name, counted in counts.peak.phases.items():
        reading, exact, inside = measured[name], counts.exact[name], scratch[name]
        rounding = (reading.allocated_peak - reading.requested_peak) - (counted - exact)
        records[name] = PhaseRecord(
            allocated_bytes=reading.allocated_peak,
            requested_bytes=reading.requested_peak,
            reserved_bytes=reading.reserved_peak,
            counted_bytes=counted,
            counted_exact_bytes=exact,
            causes=Causes(
                workspaces=workspaces,
                rounding=rounding,
                scratch=inside.bytes,
                outputs=tensors[name] - exact,
            ),
            scratch_operator=inside.operator if inside.bytes else "",
        )
    return records


def _failed(error: Exception) -> Failed:
    return Failed(
        message=f"{type(error).__name__}: {_first_line(error)}"[:500],
        traceback="".join(traceback.format_exception(error)),
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:500]
