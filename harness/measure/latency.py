"""Wall-clock times of the phases at batch 1: raw samples after a full-size warm-up, apart from memory.

The garbage collector is off while samples are taken; on CUDA the device is synchronised at both ends of each.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from harness.collector import collector_off
from harness.measure.phases import Phases
from harness.measure.views import pixels_of
from harness.measure.workload import Workload, synchronize
from harness.records import Latency, Timing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

FusionPhase = Literal["prefill", "per_frame", "per_token"]
WARM_UPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """A phase is repeated until it has ``least`` samples and ``budget_s`` of them, at most ``most``."""

    least: int = 7
    most: int = 30
    budget_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Section(Generic[T]):
    """A phase to time: ``run(prepare())``, of which ``prepare`` is not timed."""

    run: Callable[[T], object]
    prepare: Callable[[], T]


def fusion_sections(workload: Workload) -> dict[str, Section[Any]]:
    """What the fusion method has a part in: prefill, the last frame's append and a decoding step.

    With one frame the append goes to a session that holds no frame yet. Every step goes on from the same
    session, the question's first token decoded: what one pass leaves behind lies in memory otherwise than
    what grew token by token, so the first step is slower than those after it. A model that cannot be streamed
    has no section ``per_frame``.
    """
    return {name: make(workload) for name, make in _makers(workload).items()}


def _makers(workload: Workload) -> dict[FusionPhase, Callable[[Workload], Section[Any]]]:
    """How to make each section; making one may need memory."""
    makers: dict[FusionPhase, Callable[[Workload], Section[Any]]] = {"prefill": _prefill_section}
    if workload.model.not_streamed is None:
        makers["per_frame"] = _frame_section
    return makers | {"per_token": _token_section}


def _prefill_section(workload: Workload) -> Section[Any]:
    return Section(workload.prefill, workload.model.session)


def _frame_section(workload: Workload) -> Section[Any]:
    return Section(workload.append_last_frame, workload.before_last_frame().fork)


def _token_section(workload: Workload) -> Section[Any]:
    decoding = workload.asked()
    decoding.step()
    return Section(type(decoding).step, decoding.fork)


def measure_latency(workload: Workload, phases: Phases, repeats: Repeats | None = None) -> Latency:
    """Time encode and every section of the fusion method; None for a phase that runs out of memory."""
    device = workload.features.device

    def timed(make: Callable[[Workload], Section[Any]]) -> Timing:
        return collect(make(workload), device, repeats or Repeats())

    encode = phases.run("encode", lambda: timed(encode_section))
    times = {
        name: phases.run(name, functools.partial(timed, make)) for name, make in _makers(workload).items()
    }
    return Latency(
        encode=encode,
        prefill=times["prefill"],
        per_frame=times.get("per_frame"),
        per_token=times["per_token"],
    )


def encode_section(workload: Workload) -> Section[Tensor]:
    """Vision encoding of all frames at once."""
    pixels_fhwc = pixels_of(workload.stream.frames).to(workload.features.device)
    return Section(workload.model.encode, lambda: pixels_fhwc)


def collect(section: Section[T], device: torch.device, repeats: Repeats) -> Timing:
    """Time a section repeatedly."""
    for _ in range(WARM_UPS):
        section.run(section.prepare())
    raw_ns: list[int] = []
    spent_ns = 0
    with collector_off():
        while len(raw_ns) < repeats.least or (
            spent_ns < repeats.budget_s * 1e9 and len(raw_ns) < repeats.most
        ):
            raw_ns.append(elapsed_ns(section, device))
            spent_ns += raw_ns[-1]
    return Timing(raw_ms=tuple(nanoseconds / 1e6 for nanoseconds in raw_ns))


def elapsed_ns(section: Section[T], device: torch.device, repetitions: int = 1) -> int:
    """Nanoseconds that running the section takes, so many times in a row, all prepared before."""
    given = [section.prepare() for _ in range(repetitions)]
    run = section.run
    synchronize(device)
    begin = time.perf_counter_ns()
    for one in given:
        run(one)
    synchronize(device)
    return time.perf_counter_ns() - begin
