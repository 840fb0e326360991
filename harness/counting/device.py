"""A scenario on a real device: what its allocator gave out in every phase, and what kernels took inside.

The scenario's code is the counter's own (:func:`harness.counting.scenario.watched_run`); only what watches it
differs. :class:`DeviceCounter` reads the allocator between phases and leaves operators alone.
:class:`ScratchCounter` counts the tensors on the device and reads the allocator around every operator: what
was given out at an operator's peak and is no tensor after it is the kernel's scratch memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from harness.collector import collector_off
from harness.counting.building import build
from harness.counting.records import CountKey
from harness.measure.counted import INTERLUDE, CountedMemory, Kind
from harness.vlm import FusedModel

SPREAD = 0.02
"""Standard deviation of random weights; memory does not depend on it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an allocator says, in bytes: now, and at most since its peaks were reset."""

    allocated: int
    """In blocks given out, which are at least as large as what was asked for."""
    allocated_peak: int
    requested: int
    """Asked for and not given back."""
    requested_peak: int
    reserved: int
    """Held from the driver, whether given out or not."""
    reserved_peak: int


class Allocator(Protocol):
    """A device's caching allocator."""

    def synchronize(self) -> None:
        """Wait for the device."""

    def reset_peaks(self) -> None:
        """Let every peak begin anew from what is given out now."""

    def read(self) -> Reading: ...


class CudaAllocator:
    """The caching allocator of torch's CUDA build, on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)

    def reset_peaks(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def read(self) -> Reading:
        stats = torch.cuda.memory_stats(self.device)
        values = {}
        for field in fields(Reading):
            name, _, peak = field.name.partition("_")
            values[field.name] = int(stats[f"{name}_bytes.all.{peak or 'current'}"])
        return Reading(**values)


class DevicePeaks:
    """The allocator's peak in every phase of a scenario. It needs no tags: whatever was given out counts."""

    def __init__(self, allocator: Allocator) -> None:
        self.phases: dict[str, Reading] = {}
        """The reading at the end of every phase; of a phase that came twice, the one with the higher peak."""
        self._allocator = allocator
        self._phase = INTERLUDE
        self._quiet = collector_off()

    def __enter__(self) -> Self:
        self._quiet.__enter__()
        self._allocator.synchronize()
        self._allocator.reset_peaks()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                self._end_phase()
        finally:
            self._quiet.__exit__(exc_type, exc_value, traceback)

    def begin_phase(self, name: str) -> None:
        self._end_phase()
        self._phase = name

    def _end_phase(self) -> None:
        self._allocator.synchronize()
        reading = self._allocator.read()
        before = self.phases.get(self._phase)
        if self._phase != INTERLUDE and (before is None or reading.allocated_peak > before.allocated_peak):
            self.phases[self._phase] = reading
        self._allocator.reset_peaks()

    def tag(self, tensors: Iterable[Tensor] | nn.Module, kind: Kind) -> None:
        """Nothing: an allocator does not know what its blocks are for."""

    def mark(self) -> None:
        """Nothing: layers have no peaks of their own here."""


class DeviceCounter:
    """Reads a device's allocator between the phases of a scenario."""

    def __init__(self, allocator: Allocator) -> None:
        self.memory = DevicePeaks(allocator)
        self.current = INTERLUDE
        """The phase that runs, for one that does not fit."""

    def phase(self, name: str) -> None:
        self.current = name
        self.memory.begin_phase(name)


@dataclass(slots=True)
class Scratch:
    """What kernels took inside themselves at a phase's peak."""

    peak: int = 0
    """Requested bytes at most, inside operators."""
    visible: int = 0
    """Requested bytes at most, after operators."""
    operator: str = ""
    """At the peak."""

    @property
    def bytes(self) -> int:
        """By how much the scratch memory of kernels raises the phase's peak."""
        return max(0, self.peak - self.visible)


class ScratchCounter:
    """Counts tensors on a device, to the byte, and the scratch memory of its kernels, phase by phase."""

    def __init__(self, allocator: Allocator, device: str) -> None:
        self.memory = CountedMemory(granule=1, device=device, execute=self._execute)
        self.scratch: dict[str, Scratch] = {}
        self.current = INTERLUDE
        self._allocator = allocator
        self._here = Scratch()

    def phase(self, name: str) -> None:
        self.current = name
        self.memory.begin_phase(name)
        self._here = self.scratch.setdefault(name, Scratch())
        now = self._allocator.read().requested
        self._here.peak, self._here.visible = max(self._here.peak, now), max(self._here.visible, now)

    def _execute(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._allocator.reset_peaks()
        result = func(*args, **kwargs)
        reading, here = self._allocator.read(), self._here
        here.visible = max(here.visible, reading.requested)
        if reading.requested_peak > here.peak:
            here.peak, here.operator = reading.requested_peak, str(func)
        return result


def build_on(key: CountKey, device: torch.device) -> FusedModel:
    """The scenario's model on the device, for :func:`refill` to fill. What modules share stays shared."""
    model = build(key, "meta")
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    model.to_empty(device=device)
    for first, *others in names.values():
        shared = model.get_parameter(first)
        for other in others:
            module, _, leaf = other.rpartition(".")
            setattr(model.get_submodule(module), leaf, shared)
    return model


@torch.no_grad()
def refill(model: FusedModel) -> None:
    """Draw all weights anew, in place: training steps on random data must not let them grow without end."""
    for parameter in model.parameters():
        parameter.normal_(std=SPREAD)
    for buffer in model.buffers():
        buffer.zero_()
