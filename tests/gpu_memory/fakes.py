"""A device that is this CPU: an allocator that gives out what tensors take, with a card's own additions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from benchmarks.gpu.choices import Choices
from benchmarks.gpu.records import Card, GpuRecord, Outcome
from harness import environment
from harness.attention import kernels_of
from harness.attention.builds import fused_choice
from harness.counting.device import Allocator, Reading
from harness.counting.records import CountKey
from harness.measure.counted import GRANULE, CountedMemory

_PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm)
_RESERVED = 2**20
CARD = Card(name="Fake Card 1 GB", capability=(9, 0), total_bytes=2**30, settings={})
ENVIRONMENT = environment.describe(threads=1)


class _Storages(CountedMemory):  # type: ignore[no-untyped-call]
    """Live storages, with a peak that can begin anew."""

    def reset_peak(self) -> None:
        self._here.delta, self._here.event = self._delta, len(self._events)

    def rise(self, size: int) -> None:
        self._here.delta = max(self._here.delta, self._delta + size)

    @property
    def here_bytes(self) -> int:
        return self.resting_bytes + self._here.delta


class FakeAllocator:
    """Gives out ``workspace`` bytes with the first matrix product, ``scratch`` inside every one of them, and
    ``lost`` for no reason; ``limit`` is what fits."""

    def __init__(self, *, workspace: int = 0, scratch: int = 0, limit: int | None = None) -> None:
        self.workspace, self.scratch, self.limit = workspace, scratch, limit
        self.kept = self.lost = self.synchronized = 0
        self._exact = _Storages(granule=1, device="cpu")
        self._rounded = _Storages(granule=GRANULE, device="cpu", observers=(self._observe,))

    @contextmanager
    def watching(self) -> Iterator[None]:
        with self._exact, self._rounded:
            yield

    def _observe(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        if func._overloadpacket in _PRODUCTS:
            self.kept = self.workspace
            for storages in (self._exact, self._rounded):
                storages.rise(self.scratch)
        if self.limit is not None and self._rounded.live_bytes > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore than there is")

    def synchronize(self) -> None:
        self.synchronized += 1

    def reset_peaks(self) -> None:
        self._exact.reset_peak()
        self._rounded.reset_peak()

    def read(self) -> Reading:
        more = self.kept + self.lost
        allocated_peak = self._rounded.here_bytes + more
        return Reading(
            allocated=self._rounded.live_bytes + more,
            allocated_peak=allocated_peak,
            requested=self._exact.live_bytes + more,
            requested_peak=self._exact.here_bytes + more,
            reserved=allocated_peak + _RESERVED,
            reserved_peak=allocated_peak + _RESERVED,
        )


class FakeDevice:
    """The CPU, its attention routed as a card's."""

    device = torch.device("cpu")

    def __init__(self, allocator: FakeAllocator) -> None:
        self.fake = allocator
        self.allocator: Allocator = allocator

    def card(self) -> Card:
        return CARD

    def running(self) -> AbstractContextManager[None]:
        return kernels_of("cuda")

    def empty(self) -> None:
        """It holds nothing back."""


def record_of(key: CountKey, outcome: Outcome) -> GpuRecord:
    return GpuRecord(
        key=key,
        environment=ENVIRONMENT,
        card=CARD,
        warmups=1,
        started_at="2026-01-01T00:00:00+00:00",
        duration_s=1.5,
        outcome=outcome,
    )


def no_choices() -> Choices:
    return Choices(environment=ENVIRONMENT, card=CARD, choices=())


def believed(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None, causal: bool) -> str:
    return fused_choice(q, k, mask, causal)
