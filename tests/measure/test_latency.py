"""Timing: how often a section runs, and around what the clock stands. No test asserts a time."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from harness.measure import latency
from harness.measure.latency import WARM_UPS, Repeats, Section, collect, fusion_sections, measure_latency
from harness.measure.phases import Phases
from harness.measure.workload import Workload
from harness.stream import Stream

CPU = torch.device("cpu")


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def work(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency, "time", made)
    return made


@pytest.mark.parametrize(("cost_ms", "samples"), [(1, 30), (20, 25), (400, 7)])
def test_repeats_until_there_is_enough_of_both(clock: Clock, cost_ms: int, samples: int) -> None:
    timing = collect(Section(clock.work, lambda: cost_ms), CPU, Repeats())
    assert timing.raw_ms == (float(cost_ms),) * samples


def test_preparing_and_warming_up_are_not_timed(clock: Clock) -> None:
    prepared: list[int] = []

    def prepare() -> int:
        clock.work(1000)
        prepared.append(len(prepared))
        return prepared[-1]

    used: list[int] = []

    def section(given: int) -> None:
        used.append(given)
        clock.work(3)

    timing = collect(Section(section, prepare), CPU, Repeats(least=4, most=4))
    assert timing.raw_ms == (3.0,) * 4
    assert used == prepared == list(range(4 + WARM_UPS))


def test_the_collector_is_off_while_timing_and_on_again_after_an_error() -> None:
    states: list[bool] = []
    collect(Section(lambda _: states.append(gc.isenabled()), lambda: None), CPU, Repeats(least=2, most=2))
    assert states[WARM_UPS:] == [False, False]
    assert gc.isenabled()
    calls = iter(range(WARM_UPS + 1))
    with pytest.raises(StopIteration):
        collect(Section(lambda _: next(calls), lambda: None), CPU, Repeats())
    assert gc.isenabled()


@torch.inference_mode()
def test_every_phase_of_a_real_method_is_timed(method: str, workload: Callable[[str], Workload]) -> None:
    phases = Phases("cpu", print)
    measured = measure_latency(workload(method), phases, Repeats(least=2, most=3))
    assert phases.out_of_memory == []
    for timing in (measured.encode, measured.prefill, measured.per_frame, measured.per_token):
        assert timing is not None
        assert 2 <= len(timing.raw_ms) <= 3
        assert min(timing.raw_ms) > 0


@torch.inference_mode()
def test_nothing_piles_up_from_sample_to_sample(method: str, workload: Callable[[str], Workload]) -> None:
    sections = fusion_sections(workload(method))
    for phase in ("per_frame", "per_token"):
        section = sections[phase]
        before = section.prepare().state_bytes()
        section.run(section.prepare())
        assert section.prepare().state_bytes() == before


@torch.inference_mode()
def test_appending_a_frame_equals_having_had_it_all_along(
    method: str, workload: Callable[[str], Workload]
) -> None:
    load = workload(method)
    session = load.before_last_frame().fork()
    load.append_last_frame(session)
    assert session.state_bytes() == load.watched().state_bytes()
    session.append_stream(Stream(()), load.features[:0], load.question)
    torch.testing.assert_close(session.next_logits(), load.asked().next_logits(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        session.next_logits(), load.prefill(load.model.session()), rtol=1e-4, atol=1e-4
    )
