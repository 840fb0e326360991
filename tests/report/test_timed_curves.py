"""Curves of times that were measured in turns: which are taken, what is drawn, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest

from harness.records import Failed
from harness.report.document import Figure
from harness.report.frame import records_to_frame
from harness.report.plots.curves import IN_TURNS, METRICS, curves
from harness.report.plots.model import Lines, Plot, Series
from harness.report.points import Over
from harness.report.sections.task import section, setting_list
from harness.report.timed import TimedSize, timed_curves
from harness.timing.records import PHASES, TimingRecord
from tests.report import synthetic as s
from tests.report.made import evidence, timing
from tests.timing import made

TIMES = {"token_insertion": made.around(4), "vanilla_ca": made.around(2, seed=1), "casa": made.around(8)}
RUN = s.run(frames=(1, 2, 32), seeds=(0, 1))
CELLS = records_to_frame(RUN)
TIMED = [timing(TIMES, frames) for frames in (1, 8, 32, 64)]
"""At 64 pixels; there are no cells at 8 and at 64 frames."""


def found(
    records: Sequence[TimingRecord], over: Over = "frames", cells: pd.DataFrame = CELLS
) -> dict[object, list[tuple[int, int, int]]]:
    timed = timed_curves(cells, records, {}, over)
    return {other: [one.place for one in sizes] for other, sizes in timed.items()}


def plotted(
    records: Sequence[TimingRecord], over: Over = "frames", cells: pd.DataFrame = CELLS
) -> tuple[Plot, Mapping[object, tuple[TimedSize, ...]]]:
    timed = timed_curves(cells, records, {}, over)
    return curves(cells, over, timed=timed), timed


def panels(plot: Plot, title: str) -> list[Lines]:
    """The panels of a column with that title, from the top."""
    return [panel for panel in plot.panels if isinstance(panel, Lines) and panel.title == title]


def by_method(panel: Lines) -> dict[str | None, Series]:
    return {one.method: one for one in panel.series if one.role == "measured"}


def test_three_sizes_make_a_curve_and_need_no_cells_there() -> None:
    assert found(TIMED) == {"64": [(1, 64, 64), (8, 64, 64), (32, 64, 64), (64, 64, 64)]}
    assert found(TIMED[:2]) == {}
    assert found([]) == {}
    failed = dict.fromkeys(TIMES, made.FAILED)
    assert found([*TIMED[:2], timing(failed, 32)]) == {}, "cells may have times where all of this failed"
    assert len(found([*TIMED[:3], timing(failed, 64)])["64"]) == 4, "with marks at the last"
    assert found(TIMED, cells=CELLS.iloc[:0]) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "multi_image"},
        {"task_config": {"clips": 3}},
        {"backbone": "other"},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"methods": made.key(list(TIMES)).methods},
    ],
)
def test_what_was_timed_otherwise_is_no_curve(changes: dict[str, object]) -> None:
    assert found([timing(TIMES, frames, **changes) for frames in (1, 8, 32)]) == {}


def test_a_curve_is_of_one_series_that_with_the_most_times() -> None:
    """Two threads and one are different experiments, whatever sizes each has."""
    two = [timing(TIMES, frames, threads=2) for frames in (1, 2, 4, 16, 32)]
    expected = [(frames, 64, 64) for frames in (1, 2, 4, 16, 32)]
    assert found([*TIMED, *two]) == found([*two, *TIMED]) == {"64": expected}
    apart = [timing(TIMES, 1), timing(TIMES, 8), timing(TIMES, 32, threads=2)]
    assert found(apart) == {}


def test_panels_show_medians_and_quartiles_of_rounds_in_the_place_of_single_cells() -> None:
    plot, timed = plotted(TIMED)
    rows = [metric.column for metric in METRICS]
    for column, phase in zip(IN_TURNS, PHASES, strict=True):
        panel = panels(plot, "64 pixels")[rows.index(column)]
        assert panel.y.title == IN_TURNS[column].label
        assert set(by_method(panel)) == set(TIMES)
        for label, one in by_method(panel).items():
            assert list(one.x) == [1, 8, 32, 64]
            rounds = [size.times[str(label)].phases[phase].timing for size in timed["64"]]
            assert one.y == tuple(each.median_ms for each in rounds)
            assert list(zip(one.low, one.high, strict=True)) == [each.quartiles_ms for each in rounds]
            outside = label != "token_insertion"
            assert one.hollow == (False, False, outside, outside), "as the cell at 32 tells, where it is ok"
            assert "timed in turns, median of 7 rounds" in one.hover[0]


def test_a_resolution_without_turns_keeps_the_times_of_its_cells_and_their_axis() -> None:
    plot, _ = plotted(TIMED)
    alone = panels(plot, "32 pixels")
    assert [panel.y.title for panel in alone] == [metric.label for metric in METRICS]
    points = CELLS[CELLS["resolution"] == "32"]
    for metric, panel in zip(METRICS, alone, strict=True):
        if metric.column in IN_TURNS:
            values = [value for one in by_method(panel).values() for value in one.y]
            assert set(values) <= set(points[metric.column]) | set(
                points.groupby(["method", "frames"])[metric.column].median()
            )
    assert all(panel.x.high < 64 for panel in alone)
    in_turns = panels(plot, "64 pixels")
    assert [panel.x.high > 64 for panel in in_turns] == [False, False, True, True, True]
    for panel in (*alone, *in_turns):
        for one in panel.series:
            assert all(panel.x.low <= x <= panel.x.high for x in one.x)
            assert all(panel.y.low <= y <= panel.y.high for y in one.y)


def test_a_failure_while_timing_is_marked_and_one_of_a_cell_is_not() -> None:
    """Token insertion's cell at 32 frames has no memory; its timing there has."""
    times: dict[str, Sequence[float] | Failed] = {**TIMES, "casa": made.FAILED}
    plot, _ = plotted([*TIMED[:3], timing(times, 64)])
    memory, prefill = panels(plot, "64 pixels")[1:3]
    assert [(one.method, one.x, one.text) for one in memory.failures] == [("token_insertion", 32, "OOM")]
    assert [(one.method, one.x, one.text) for one in prefill.failures] == [("casa", 64, "OOM")]
    assert by_method(prefill)["casa"].x == (1, 8, 32)


def test_times_against_resolution_are_in_turns_where_three_were_timed() -> None:
    records = [timing(TIMES, 2, height=size, width=size) for size in (32, 48, 64)]
    assert found(records, "resolution") == {2: [(2, 32, 32), (2, 48, 48), (2, 64, 64)]}
    plot, _ = plotted(records, "resolution")
    assert by_method(panels(plot, "2 frames")[2])["casa"].x == (32, 48, 64)
    assert panels(plot, "1 frame")[2].y.title == METRICS[2].label
    assert found(records[1:], "resolution") == {}


def test_notes_say_what_was_timed_and_which_methods_were_not() -> None:
    few = {name: TIMES[name] for name in ("vanilla_ca", "casa")}
    busy = timing(few, 1).model_copy(update={"load_before": (5.0, 5.0, 5.0)})
    plot, _ = plotted([busy, timing(few, 2), timing(few, 4)])
    assert "7 rounds in one process a size, seed 0, without vision encoding" in plot.notes[-3]
    assert plot.notes[-2:] == (
        "load above the number of processors at 1 of 3 timings",
        "not timed in turns: token_insertion",
    )


def figure(name: str, records: Sequence[TimingRecord]) -> Figure:
    run = evidence(RUN, timings=records)
    (setting,) = setting_list(run)
    blocks = [one for one in section(setting, run).walk() if isinstance(one, Figure)]
    (shown,) = [one for one in blocks if one.name == name]
    return shown


def test_the_figure_says_in_which_panels_times_are_in_turns_and_lists_their_rounds() -> None:
    other = timing(TIMES, 1, dtype="bfloat16")
    shown = figure("videoqa_by_frames", [*TIMED, other])
    assert shown.caption.startswith("Accuracy, peak memory and times in turns against frames (times: medians")
    assert shown.caption.endswith("times of single cells where a panel does not say so")
    assert shown.source.records[-1].endswith("--table timings --task videoqa --where dtype=float32")
    assert "--frames 1,8,32,64 --resolution 64" in shown.source.measure[-1]
    assert shown.source.measure[-1].startswith("harness time --out")
    plain = "Accuracy, peak memory and times of single cells against"
    assert figure("videoqa_by_resolution", TIMED).caption == f"{plain} resolution"
    without = figure("videoqa_by_frames", [other])
    assert without.caption == f"{plain} frames"
    assert not any("timings" in line for line in without.source.records)


def test_methods_that_were_timed_but_have_no_cells_are_not_listed() -> None:
    times = {**TIMES, "flamingo": made.around(3)}
    shown = figure("videoqa_by_frames", [timing(times, frames) for frames in (1, 2, 4)])
    assert shown.source.records[-1].endswith("--where method=casa,token_insertion,vanilla_ca")
