"""The sections on memory, latency and published figures."""

from __future__ import annotations

from types import ModuleType

import pytest

from harness import published as published_tables
from harness.report.contents import document
from harness.report.document import Figure, Notice, Table
from harness.report.made import NotMadeWarning
from harness.report.sections import latency, memory, published
from harness.report.sections.task import setting_list
from harness.report.text import NO_DATA
from tests.counted import count_key, peak, series
from tests.counted import record as counted_record
from tests.measured import memory_of
from tests.report import synthetic as s
from tests.report.made import GIB, body, evidence, said, table, video
from tests.timing import made as timed

MIB = 2**20
LINEAR: dict[str, dict[int, int | str]] = {"vanilla_ca": {n: 2 * GIB + n * GIB // 64 for n in (4, 64, 128)}}


def test_memory_has_peaks_kinds_laws_and_capacity_by_scene() -> None:
    counted = video({**LINEAR, "token_insertion": {4: GIB, 64: "planted", 128: 40 * GIB}})
    section = memory.section(evidence(counted=counted), [])
    assert section is not None
    (part,) = section.parts
    assert part.title == "prefill, large, bfloat16, cuda kernels, 16 text tokens"
    assert body(table(part, "memory_1_peaks")) == [
        ["token_insertion", "1", "1 GiB", "not counted", "40 GiB"],
        ["vanilla_ca", "1", "2.06 GiB", "3 GiB", "4 GiB"],
    ]
    (law,) = [row for row in body(table(part, "memory_1_laws")) if row[0] == "vanilla_ca"]
    assert law[1:5] == ["4 to 128 frames, 448 pixels", "1", "1.00", "yes"]
    assert law[5] == "peak = 2 GiB + 16 MiB per frame"
    (capacity,) = [row for row in body(table(part, "memory_1_capacity")) if row[0] == "vanilla_ca"]
    # 13.9 GiB are left of 16 GB: 2 GiB and 761 frames.
    assert capacity[1:3] == ["448", "about 761 (law)"]
    (crossing,) = body(table(part, "memory_1_crossings"))
    assert crossing[:4] == ["token_insertion", "vanilla_ca", "4", "128"]
    (figure,) = [block for block in part.walk() if isinstance(block, Figure)]
    assert figure.source.measure[0].startswith("harness bench --methods vanilla_ca,token_insertion")


def test_a_broken_declaration_shows_in_the_laws() -> None:
    square = series({n: 100 * MIB + n * n * MIB for n in (4, 8, 16)}, method="vanilla_ca")
    section = memory.section(evidence(counted=square), [])
    assert body(table(section, "memory_1_laws"))[0][2:5] == ["1", "2.00", "no"]


def test_resolutions_have_a_table_of_their_own_and_cpu_kernels_no_capacity() -> None:
    counted = [
        counted_record(count_key("casa", height=side, width=side, kernels="cpu"), peak(side * MIB))
        for side in (16, 32)
    ]
    section = memory.section(evidence(counted=counted), [])
    assert body(table(section, "memory_1_pixels")) == [["casa", "16 MiB", "32 MiB"]]
    assert "GB" not in said(section)


def test_backbones_that_the_summary_leaves_out_are_advised_on_in_memory() -> None:
    counted = [*video(LINEAR), *video(LINEAR, backbone="other")]
    assert len(body(table(memory.section(evidence(counted=counted), []), "budget_prefill_2"))) == 2


def test_measured_peaks_stand_beside_scenarios_as_a_ratio_with_their_source() -> None:
    cell = s.key("vanilla_ca", frames=4)
    amount = memory_of(s.measures(cell)).peak_bytes
    key = count_key("vanilla_ca", frames=4, backbone="reference", dtype="float32", kernels="cpu")
    section = memory.section(evidence([s.record(cell)], [counted_record(key, peak(2 * amount))]), [])
    (row,) = body(table(section, "cells_beside_scenarios"))
    assert row == ["videoqa", "vanilla_ca", "live tensors on a CPU", "1 size", "0.500", "0.500"]
    other = counted_record(key.model_copy(update={"kernels": "cuda"}), peak(amount))
    assert "Cells beside scenarios" not in said(memory.section(evidence([s.record(cell)], [other]), []))


def test_nothing_counted_nothing_timed_nothing_published() -> None:
    nothing = evidence([s.record(s.key("plugin"))])
    assert memory.section(nothing, []) is None
    assert latency.section(nothing) is None
    assert published.section(nothing, []) is None


def test_latencies_are_divided_by_the_first_method_named() -> None:
    records = [
        timed.record({"one": timed.around(first), "two": timed.around(2, seed=1)}, frames)
        for frames, first in ((1, 1), (4, 4))
    ]
    section = latency.section(evidence(timings=records))
    found = table(section, "latency_1_prefill")
    ((name, at_1, at_4),) = body(found)
    assert name == "two"
    assert float(at_1.split()[0]) == pytest.approx(2, rel=0.1)
    assert float(at_4.split()[0]) == pytest.approx(0.5, rel=0.1)
    low, high = (float(part) for part in at_4.partition("[")[2].rstrip("]").split(", "))
    assert low < float(at_4.split()[0]) < high < 1
    assert body(table(section, "latency_1_turns"))[0] == [
        "prefill, without vision encoding", "one", "two", "1", NO_DATA, "4",
    ]  # fmt: skip
    assert found.source.measure == (
        "harness time --out 'runs/a b' --methods one,two --task counting --frames 1,4 --resolution 8x16 "
        "--rounds 7 --seed 0 --view-seed 0 --limit 8 --backbone toy --weights random --device cpu "
        "--dtype float32 --threads 1",
    )


def test_a_timing_without_a_pair_claims_nothing() -> None:
    text = said(
        latency.section(evidence(timings=[timed.record({"one": timed.around(1), "two": timed.FAILED})]))
    )
    assert "No two methods were timed at the same size." in text


def test_published_tables_are_marked_and_never_hold_figures_of_this_run() -> None:
    found = evidence([s.record(s.key(name)) for name in s.SKILL])
    section = published.section(found, setting_list(found))
    assert section is not None
    tables = [block for block in section.walk() if isinstance(block, Table)]
    theirs = [one for one in tables if one.name.startswith("published_")]
    assert [one.name.removeprefix("published_") for one in theirs] == published_tables.names()
    for one in theirs:
        name = one.name.removeprefix("published_")
        assert one.caption == f"Published elsewhere, not measured here: {published_tables.source(name)}"
        assert len(one.rows) == len(published_tables.read(name))
    ours = [one for one in tables if one not in theirs]
    assert [one.name for one in ours] == ["beside_casa_v2_quality"]
    rows = {row[0]: row for row in body(ours[0])}
    assert rows["vanilla_ca"][1] == "-1.5 %"
    assert rows["vanilla_ca"][2].endswith("%")
    assert rows["vanilla_ca"][3] == "other models, other training, other questions"
    assert rows["casa:gists=0"][2:] == [NO_DATA, "not measured here"]
    assert ours[0].caption.startswith("Not comparable, and no check: ")


def test_without_a_published_method_nothing_stands_beside() -> None:
    found = evidence([s.record(s.key(name)) for name in ("token_insertion", "pruning")])
    section = published.section(found, setting_list(found))
    assert section is not None
    names = [block.name for block in section.walk() if isinstance(block, Table)]
    assert names == [f"published_{name}" for name in published_tables.names()]


def test_a_session_that_was_counted_stands_beside_the_published_one() -> None:
    scenario = published_tables.equals("casa_v2_streaming_h100").scenario
    assert scenario is not None
    key = count_key("vanilla_ca", frames=256, **scenario)
    amount = peak(2 * round(6.4 * GIB), kv_tokens=4629)
    other = counted_record(key.model_copy(update={"frames": 255}), peak(GIB))
    section = published.section(evidence(counted=[counted_record(key, amount), other]), [])
    assert body(table(section, "beside_casa_v2_streaming_h100")) == [
        ["vanilla_ca", "256", "4,629", "4,629", "6.4 GiB", "12.8 GiB", "2.000"]
    ]
    (line,) = published.agreement(evidence(counted=[counted_record(key, amount), other]))
    assert "counted peaks are +100.0 % off, and numbers of KV tokens are equal in 1 of 1 row." in line
    assert published.agreement(evidence(counted=[other])) == []


def test_every_equal_names_a_model_of_its_table_and_a_method_that_is_registered() -> None:
    from harness import registry
    from harness.spec import MethodSpec

    registry.discover()
    for name in published_tables.names():
        equals, models = published_tables.equals(name), set(published_tables.read(name).iloc[:, :2].stack())
        assert {*equals.methods} <= models
        assert {MethodSpec.parse(text).name for text in equals.methods.values()} <= set(registry.methods)


def test_sections_come_in_their_order() -> None:
    records = [s.record(s.key(name)) for name in s.SKILL]
    timings = [timed.record({"one": timed.around(1), "two": timed.around(2, seed=1)})]
    whole = document(evidence(records, video(LINEAR), timings), ())
    assert [section.title for section in whole.sections] == [
        "Summary",
        "videoqa",
        "Memory",
        "Latency ratios",
        "Beside published figures",
        "Provenance",
    ]
    tables = [block for block in whole.walk() if isinstance(block, Table | Figure)]
    assert len({block.name for block in tables}) == len(tables)
    own = [one for one in tables if not one.name.startswith(("published_", "environments"))]
    assert all(block.source.records or block.source.measure for block in own)


def test_names_that_no_command_line_takes_do_not_stop_the_report() -> None:
    evil = "=HYPERLINK(1)|<img src=x>`$"
    timings = [timed.record({evil: timed.around(1), "two": timed.around(2)}, task=evil)]
    counted = video({evil: {1: GIB, 2: "planted", 4: GIB}})
    whole = document(evidence([s.record(s.key(evil, task=evil))], counted, timings), ())
    (row,) = body(table(whole.sections[-1], "uncounted"))
    assert row == [evil, "prefill", "large", "2", "448", "planted"]


BROKEN = {
    memory: ("_figure", "_by_frames", "_by_kind", "_laws", "_capacity", "_crossings", "beside_cells"),
    latency: ("_table", "_turns"),
    published: ("_as_published", "_relative"),
}


@pytest.mark.parametrize(
    ("module", "part"), [(module, part) for module, parts in BROKEN.items() for part in parts]
)
def test_one_failing_part_leaves_the_rest_of_its_section(
    module: ModuleType, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = video({**LINEAR, "token_insertion": {4: GIB, 64: 10 * GIB, 128: 40 * GIB}})
    timings = [
        timed.record({"one": timed.around(first), "two": timed.around(2, seed=1)}, frames)
        for frames, first in ((1, 1), (4, 4))
    ]
    found = evidence([s.record(s.key(name)) for name in s.SKILL], counted, timings)
    settings = setting_list(found)

    def blocks() -> list[str]:
        made = latency.section(found) if module is latency else module.section(found, settings)
        assert made is not None
        return [
            getattr(block, "name", "notice" if isinstance(block, Notice) else "text") for block in made.walk()
        ]

    before = blocks()

    def broken(*_: object) -> None:
        raise ArithmeticError("planted")

    monkeypatch.setattr(module, part, broken)
    with pytest.warns(NotMadeWarning, match="planted"):
        after = blocks()
    lost = [name for name in before if name not in after]
    assert "notice" in after
    assert "notice" not in before
    assert set(after) & set(before) - {"text"}
    if part != "beside_cells":
        assert lost
