"""Phases, marks and origins of counted memory: what lived at which phase's peak, and which line made it."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harness import sites
from harness.attention import attend_reference
from harness.measure.counted import ACTIVATIONS, INTERLUDE, TEMPORARIES, CountedMemory
from harness.spec import parse_ints

KIB = 1024
HERE = "tests/measure/test_phases.py"


def block(kib: float) -> Tensor:
    return torch.empty(int(kib * KIB), dtype=torch.uint8)


def line() -> int:
    """Of the caller."""
    return sys._getframe(1).f_lineno


def test_every_phase_has_a_peak_of_its_own() -> None:
    with CountedMemory() as memory:
        memory.begin_phase("first")
        kept = block(4)
        memory.begin_phase("second")
        scratch = block(2)
        del scratch
        memory.begin_phase("third")
        del kept
        small = block(1)
    assert memory.phases == {"first": 4 * KIB, "second": 6 * KIB, "third": 4 * KIB}
    assert (memory.peak_bytes, memory.peak_phase) == (6 * KIB, "second")
    assert memory.live_bytes == small.nbytes


def test_a_phase_goes_on_under_its_name() -> None:
    with CountedMemory() as memory:
        for kib in (2, 8, 1):
            memory.begin_phase("step")
            block(kib)
            memory.begin_phase("rest")
    assert memory.phases == {"step": 8 * KIB, "rest": 0}


def test_of_equal_peaks_the_first_phase_is_named() -> None:
    with CountedMemory() as memory:
        for name in ("one", "two"):
            memory.begin_phase(name)
            block(4)
    assert memory.peak_phase == "one"


def test_what_rests_is_part_of_every_phase() -> None:
    weights = block(16)
    memory = CountedMemory()
    memory.tag([weights], "parameters")
    with memory:
        memory.begin_phase("only")
        block(1)
    assert memory.phases == {"only": 17 * KIB}


def test_a_phase_may_peak_below_what_rested() -> None:
    held = [block(16)]
    memory = CountedMemory()
    memory.tag(held, "inputs")
    with memory:
        memory.begin_phase("first")
        held.clear()
        memory.begin_phase("second")
        block(1)
    assert memory.phases == {"first": 16 * KIB, "second": KIB}


def test_the_peak_of_an_interlude_is_nobodys() -> None:
    with CountedMemory() as memory:
        memory.begin_phase(INTERLUDE)
        scratch = block(64)
        kept = block(4)
        del scratch
        memory.begin_phase("token")
        block(2)
        memory.begin_phase(INTERLUDE)
        block(128)
    memory.tag([kept], "state")
    assert memory.phases == {"token": 6 * KIB}
    assert (memory.peak_bytes, memory.peak_phase) == (6 * KIB, "token")
    assert memory.at_peak() == {"state": 4 * KIB, TEMPORARIES: 2 * KIB}


def test_what_an_interlude_leaves_counts_where_nothing_more_is_made() -> None:
    with CountedMemory() as memory:
        memory.begin_phase(INTERLUDE)
        kept, scratch = block(4), block(8)
        del scratch
        memory.begin_phase("idle")
        del kept
    assert memory.phases == {"idle": 4 * KIB}
    origin = memory.peak_origin()
    # The last event before the phase freed the scratch memory, which is not alive at its peak.
    assert origin is not None
    assert origin.shape == (4 * KIB,)


def test_an_empty_region_has_no_origin() -> None:
    with CountedMemory() as memory:
        memory.begin_phase("nothing")
    assert memory.peak_origin() is None
    assert memory.live_at_peak() == []
    assert memory.phases == {"nothing": 0}


def test_what_lives_across_a_mark_is_an_activation() -> None:
    with CountedMemory() as memory:
        across = block(4)
        memory.mark()
        within = block(2)
        del within
        later, last = block(1), block(8)
        del last
        memory.mark()
        del across
    assert memory.at_peak() == {ACTIVATIONS: 5 * KIB, TEMPORARIES: 8 * KIB}
    assert later.nbytes == KIB


def test_phases_are_marks_and_tags_come_first() -> None:
    with CountedMemory() as memory:
        memory.begin_phase("one")
        across, state = block(4), block(2)
        memory.begin_phase("two")
        block(1)
    memory.tag([state], "state")
    assert memory.at_peak() == {ACTIVATIONS: 4 * KIB, "state": 2 * KIB, TEMPORARIES: KIB}
    assert across.nbytes == 4 * KIB


def test_kinds_that_share_a_storage_split_its_bytes() -> None:
    with CountedMemory() as memory:
        shared = torch.empty(1000, dtype=torch.uint8)
    memory.tag([shared], {"text_kv": 1, "image_kv": 2, "gist_kv": 0})
    assert memory.at_peak() == {"text_kv": 341, "image_kv": 683}
    assert [live.size for live in memory.live_at_peak()] == [341, 683]


@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**6), min_size=1).filter(
        lambda found: sum(found.values()) > 0
    ),
    size=st.integers(1, 10**5),
)
def test_shares_are_exact_whatever_the_weights(weights: dict[str, int], size: int) -> None:
    with CountedMemory(granule=1) as memory:
        shared = torch.empty(size, dtype=torch.uint8)
    memory.tag([shared], weights)
    shares, total = memory.at_peak(), sum(weights.values())
    assert sum(shares.values()) == size
    assert all(abs(shares.get(kind, 0) - size * w / total) < len(weights) for kind, w in weights.items())


def made_by_a_helper() -> tuple[Tensor, int]:
    return block(32), line()


def test_origins_name_the_line_that_asked() -> None:
    model, x = nn.Linear(64, 64), torch.randn(64, 64)
    with CountedMemory() as memory, torch.no_grad():
        first, helped = made_by_a_helper()
        second, through_torch = model(x), line()
        third, through_copy = copy.deepcopy(x), line()
        mask = torch.ones(64, 64, dtype=torch.bool)
        fourth, through_carrier = attend_reference(x[:, None], x[:, None], x[:, None], mask, 1.0), line()
    places = {live.origin.where: live.origin for live in memory.live_at_peak()}
    block_line = block.__code__.co_firstlineno + 1
    assert helped == made_by_a_helper.__code__.co_firstlineno + 1
    assert places[f"{HERE}:{block_line}"].operator == "aten.empty.memory_format"
    assert places[f"{HERE}:{through_torch}"].operator == "aten.addmm.default"
    assert places[f"{HERE}:{through_torch}"].shape == (64, 64)
    assert {f"{HERE}:{through_copy}", f"{HERE}:{through_carrier}"} <= places.keys()
    assert all(place.startswith(f"{HERE}:") for place in places)
    origin = memory.peak_origin()
    assert origin is not None
    assert origin.where == f"{HERE}:{through_carrier}"
    assert len({id(x) for x in (first, second, third, fourth)}) == 4


def test_what_was_there_before_has_no_operator() -> None:
    weight = torch.zeros(3, 5, dtype=torch.bfloat16)
    memory = CountedMemory()
    memory.tag([weight], "parameters")
    with memory:
        pass
    (live,) = memory.live_at_peak()
    assert (live.origin.operator, live.origin.where, live.origin.shape) == ("", "", (3, 5))
    assert (live.kind, live.origin.dtype) == ("parameters", "bfloat16")


def test_an_executor_runs_in_place_of_torch() -> None:
    ran: list[str] = []
    seen: list[tuple[str, int]] = []

    def execute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ran.append(str(func))
        return torch.empty(4 * KIB, dtype=torch.uint8) if "aten.add" in ran[-1] else func(*args, **kwargs)

    def observe(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        seen.append((str(func), result.nbytes))

    x = torch.zeros(4)
    with CountedMemory(execute=execute, observers=[observe]) as memory:
        y = x + 1
        y.mul(2)
    assert ran == ["aten.add.Tensor", "aten.mul.Tensor"]
    assert seen == [("aten.add.Tensor", 4 * KIB), ("aten.mul.Tensor", 4 * KIB)]
    assert memory.live_bytes == 4 * KIB


def raised(work: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        work()
    return caught.value


def test_an_errors_line_is_the_callers() -> None:
    def through_torch() -> None:
        torch.zeros(2) @ torch.zeros(3)

    def through_a_carrier() -> None:
        attend_reference(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.zeros(1), 1.0)

    for work in (through_torch, through_a_carrier):
        assert sites.raising_line(raised(work)) == f"{HERE}:{work.__code__.co_firstlineno + 1}"


def test_a_line_is_the_harness_s_own_or_a_plugin_s() -> None:
    ours = sites.raising_line(raised(lambda: parse_ints("frames", ["x"])))
    assert ours.startswith("harness/spec.py:")
    assert sites.is_own(ours)
    assert sites.is_own("tasks/videoqa.py:3")
    for other in (f"{HERE}:7", "copy.py:2", "", "/elsewhere/mine.py:1", "tasks/of_another_folder.py:1"):
        assert not sites.is_own(other)


def test_an_error_without_a_line_to_name_has_its_own() -> None:
    assert sites.raising_line(ValueError("never raised")) == ""
    error = raised(lambda: exec(compile("\n1 / 0", copy.__file__, "exec")))
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != copy.__file__:
        trace = trace.tb_next
    assert sites.raising_line(error.with_traceback(trace)) == "copy.py:2"


def test_what_is_installed_is_named_though_it_lies_below_the_standard_library(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "_STANDARD", tmp_path)
    name = sites._named.__wrapped__
    method = tmp_path / "site-packages" / "methods.py"
    assert name(str(method)) == str(method)
    assert name(str(tmp_path / "json" / "decoder.py")) is None
    assert name(str(sites._HARNESS / "measure" / "counted.py")) is None
    assert name(str(sites._HARNESS / "session.py")) == "harness/session.py"
    assert name("<string>") is None
