"""Counts on real tensors against torch's own: the CPU allocator's events, and ``MemTracker``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch.distributed._tools.mem_tracker import MemTracker
from torch.profiler import ProfilerActivity, profile, record_function

from harness.attention import Route, kernels_of, using
from harness.counting import scenario
from harness.counting.building import build
from harness.counting.records import CountKey, Mode
from harness.counting.scenario import Counter, run_scenario
from harness.measure.counted import INTERLUDE, CountedMemory
from harness.vlm import FusedModel

from .keys import METHODS, MODES, key

MARK = "phase "
HOST_NUMBERS = 64
"""Bytes of single numbers that torch makes on the host on the way: a mask's value, an optimiser's factors."""


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count single bytes, as torch's events do, and mark the phases for the profiler."""

    class Unrounded(CountedMemory):  # type: ignore[no-untyped-call]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, granule=1)

    begin = Counter.phase

    def marked(self: Counter, name: str) -> None:
        with record_function(MARK + name):
            pass
        begin(self, name)

    monkeypatch.setattr(scenario, "CountedMemory", Unrounded)
    monkeypatch.setattr(Counter, "phase", marked)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


def allocator_peaks(asked: CountKey, model: FusedModel) -> dict[str, int]:
    """By phase, the most bytes that the CPU allocator has given out and not got back since the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run_scenario(asked, model)
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    peaks: dict[str, int] = {}
    phase, live = "", 0
    for event in events:
        if event.name().startswith(MARK):
            phase = event.name().removeprefix(MARK)
            peaks[phase] = max(peaks.get(phase, 0), live)
        elif event.name() == "[memory]":
            live += event.nbytes()
            peaks[phase] = max(peaks.get(phase, 0), live)
    return {name: peak for name, peak in peaks.items() if name not in ("", "encode", INTERLUDE)}


@pytest.mark.parametrize("route", ["reference", "auto"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("exact")
def test_phases_peak_where_the_allocator_does(method: str, mode: Mode, route: Route) -> None:
    asked = key(mode, method, dtype="float32", kernels="cpu")
    model = build(asked, "cpu")
    with kernels_of("cpu"), using(route):
        run_scenario(asked, model)  # One-off scratch memory of libraries.
        memory = run_scenario(asked, model).counter.memory
        allocated = allocator_peaks(asked, model)
    resting = sum(t.untyped_storage().nbytes() for t in (*set(model.parameters()), *model.buffers()))
    host = _host_bytes(model, mode)
    # Convolutions on a CPU take scratch memory of their own, so the vision encoder's phase is left out.
    counted = {name: peak - resting for name, peak in memory.phases.items() if name != "encode"}
    beyond = {name: allocated[name] - host - peak for name, peak in counted.items()}
    # The CPU's fused attention takes scratch memory, which shows where it is the peak.
    share = 50 if route == "auto" else 10**9
    assert all(0 <= extra <= max(HOST_NUMBERS, counted[name] // share) for name, extra in beyond.items()), (
        beyond
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("exact")
def test_phases_peak_where_torchs_memtracker_does(
    method: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = key(mode, method, dtype="float32", kernels="cpu")
    with kernels_of("cpu"):
        counted = run_scenario(asked, build(asked, "cpu")).counter.memory.phases
    model = build(asked, "cpu")
    tracker = MemTracker()
    tracker._mod_tracker = cast("Any", _NoModules())
    tracker.track_external(model)
    peaks: dict[str, int] = {}
    phase = [""]

    def close() -> None:
        (total,) = (kinds["Total"] for kinds in tracker.get_tracker_snapshot("peak").values())
        peaks[phase[0]] = total
        # What lives when the next phase begins is the least that it can peak at.
        tracker._peak_mem = {device: 0 for device in tracker._peak_mem}

    begin = Counter.phase

    def boundary(self: Counter, name: str) -> None:
        close()
        phase[0] = name
        begin(self, name)

    monkeypatch.setattr(Counter, "phase", boundary)
    with kernels_of("cpu"), tracker:
        run_scenario(asked, model)
    close()
    host = _host_bytes(model, mode)
    assert counted == {name: peaks[name] - host for name in counted}


def _host_bytes(model: FusedModel, mode: Mode) -> int:
    """Bytes that stay on the host on any machine, and are therefore not counted: token ids of the start, the
    text and one more token (with those after a frame in a stream), and AdamW's step numbers."""
    ids = 8 * (16 + 1 + 1 + (2 if mode == "stream" else 0))
    steps = 4 * sum(p.requires_grad for p in model.parameters())
    return ids + (steps if mode == "train" else 0)


class _NoModules(SimpleNamespace):
    """In place of MemTracker's bookkeeping by module, whose hooks need gradients everywhere."""

    is_bw = False
    parents: frozenset[str] = frozenset()

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *_: object) -> None: ...

    def register_user_hooks(self, *_: object) -> None: ...

    def clear_user_hooks(self) -> None: ...

    def get_known_fqn(self, *_: object) -> None: ...
