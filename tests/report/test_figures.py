"""Figures are tested on the data that reaches the plot."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.records import Ok, Record
from harness.report.canvas import footer_lines, render
from harness.report.curves import Axis, beside, curves
from harness.report.figures import accuracy_against_memory, kinds_heatmap
from harness.report.frame import kinds_to_frame, records_to_frame
from harness.report.kinds import kind_table
from harness.report.points import at, over_models, reference_point
from harness.report.style import PALETTE, SHIPPED, looks
from tests.report import synthetic as s

CELLS = records_to_frame(s.run(frames=(1, 2, 32), seeds=(0, 1)))
HOSTILE = "_$x^{$ <b>|`*_\n=1+1 \u6f22 " + "very" * 30


@functools.cache
def small() -> Figure:
    """Drawn once, read by several tests."""
    return curves(CELLS, "frames")


def data(axes: Axes, color: str, marker: str = "None") -> list[tuple[float, float]]:
    """Every finite point of the lines with that colour and marker."""
    lines = [line for line in axes.lines if line.get_color() == color and line.get_marker() == marker]
    return sorted({pair for line in lines for pair in points_of(line)})


def line_data(line: Line2D) -> tuple[list[float], list[float]]:
    x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
    return x.tolist(), y.tolist()


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([*found, *legends])


@pytest.mark.parametrize(
    ("row", "column", "factor"),
    [(0, "accuracy", 1.0), (1, "above_resting_bytes", 2**-20), (2, "ttft_ms", 1.0), (3, "per_frame_ms", 1.0)],
)
def test_curves_draw_the_points_of_the_frame(row: int, column: str, factor: float) -> None:
    points = over_models(CELLS)
    figure = small()
    look = looks(list(zip(points["method"], points["method_name"], strict=True)))
    for facet, resolution in enumerate(("32", "64")):
        for method in s.SKILL:
            mine = points[(points["method"] == method) & (points["resolution"] == resolution)]
            expected = [(x, y * factor) for x, y in zip(mine["frames"], mine[column], strict=True)]
            drawn = data(figure.axes[2 * row + facet], look[method].color, look[method].marker)
            single = data_beside(drawn, mine["frames"])
            assert sorted(set(drawn) - single) == [pair for pair in expected if np.isfinite(pair[1])]


@pytest.mark.parametrize("axis", ["frames", "resolution"])
def test_nothing_that_is_measured_lies_outside_its_panel(axis: Axis) -> None:
    figure = small() if axis == "frames" else curves(CELLS, axis)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        left, right = axes.get_xlim()
        drawn = [
            pair for line in axes.lines if line.get_transform() == axes.transData for pair in points_of(line)
        ]
        assert drawn
        assert all(left < x < right and low < y < high for x, y in drawn)


def points_of(line: Line2D) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(*line_data(line), strict=True) if np.isfinite(y)]


def data_beside(drawn: list[tuple[float, float]], frames: pd.Series) -> set[tuple[float, float]]:
    moved = {round(float(value) * beside(frames), 6) for value in frames}
    return {pair for pair in drawn if round(pair[0], 6) in moved}


def test_single_seeds_stand_beside_their_mean_in_the_accuracy_panels_only() -> None:
    cells, axes = CELLS, small().axes
    look = looks([(name, name) for name in s.SKILL])["vanilla_ca"]
    mine = cells[(cells["method"] == "vanilla_ca") & (cells["resolution"] == "32")]
    single = data_beside(data(axes[0], look.color, look.marker), mine["frames"])
    assert {y for _, y in single} == set(mine["accuracy"])
    assert data_beside(data(axes[2], look.color, look.marker), mine["frames"]) == set()


def test_a_failure_is_marked_where_it_happened_in_every_panel() -> None:
    figure = small()
    for index, axes in enumerate(figure.axes):
        crosses = [line for line in axes.lines if line.get_marker() == "X"]
        if index % 2 == 0:
            assert crosses == []
        else:
            (cross,) = crosses
            assert list(np.atleast_1d(np.asarray(cross.get_xdata()))) == [32]
            assert cross.get_color() == PALETTE[SHIPPED.index("token_insertion")]
    assert "OOM" in texts(figure)


def test_extrapolated_points_are_hollow_and_dotted() -> None:
    axes = small().axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 3
    assert all(line_data(line)[0] == [32] for line in hollow)
    solid = [line for line in axes.lines if line.get_color() in PALETTE and line.get_marker() == "None"]
    for line in solid:
        x, y = line_data(line)
        assert (x, np.isfinite(y).tolist()) in (([1, 2, 32], [True, True, False]), ([2, 32], [True, True]))


def test_reference_levels_follow_the_kinds_that_can_be_asked() -> None:
    cells = records_to_frame(s.run(frames=(2, 4), seeds=(0,)))
    axes = curves(cells, "frames").axes[0]
    (chance,) = [line for line in axes.lines if line.get_label() == "chance"]
    frames, levels = line_data(chance)
    assert frames == [2, 4]
    assert levels == pytest.approx([0.1, (5 * 0.1 + 3 * 0.25) / 8])


def test_resolution_axis_has_every_size_and_at_most_four_panels_per_row() -> None:
    figure = curves(records_to_frame(s.run(frames=(1, 2, 4, 8, 32), seeds=(0,))), "resolution")
    assert len(figure.axes) == 16
    assert [axes.get_title() for axes in figure.axes[:4]] == ["1 frame", "2 frames", "8 frames", "32 frames"]
    assert figure.axes[-1].get_xticks().tolist() == [32, 64]


def test_oblong_resolutions_are_labelled_height_by_width() -> None:
    records = [s.record(s.key(height=h, width=w)) for h, w in ((32, 32), (32, 64))]
    labels = curves(records_to_frame(records), "resolution").axes[-1].get_xticklabels()
    assert [label.get_text() for label in labels] == ["32", "32x64"]


def heat(records: list[Record]) -> Figure:
    cells, kinds = records_to_frame(records), kinds_to_frame(records)
    place = reference_point(over_models(cells))
    assert place is not None
    table = kind_table(kinds, place)
    assert table is not None
    return kinds_heatmap(table, at(cells, place))


def test_heat_map_holds_methods_and_reference_rows() -> None:
    records = s.run(frames=(8,), resolutions=(64,), seeds=(0, 1))
    figure = heat([one for one in records if one.key.method != "token_insertion"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "vanilla_ca",
        "casa",
        "last-frame oracle",
        "blind oracle",
        "chance",
    ]
    drawn = np.asarray(axes.collections[0].get_array()).reshape(5, len(s.KINDS))
    kinds = kinds_to_frame(records)
    mine = kinds[(kinds["method"] == "casa") & (kinds["kind"] == "motion")]["accuracy"].mean()
    assert drawn[1, list(s.KINDS).index("motion")] == pytest.approx(mine)
    assert drawn[2, 0] == 1.0
    assert drawn[4, -1] == 0.25


def test_heat_map_shows_a_kind_without_data_as_a_dash() -> None:
    cells = [s.key("casa"), s.key("vanilla_ca")]
    full = s.measures(cells[1])
    part = full.model_copy(update={"by_kind": {"motion": full.by_kind["motion"]}})
    figure = heat([s.record(cells[0]), s.record(cells[1], Ok(measures=part))])
    dashes = [text.get_position() for text in figure.axes[0].texts if text.get_text() == "–"]  # noqa: RUF001
    assert len(dashes) == len(s.KINDS) - 1
    assert {y for _, y in dashes} == {0.5}


def test_accuracy_against_memory_has_every_measured_point_with_its_frames() -> None:
    figure = accuracy_against_memory(CELLS)
    points = over_models(CELLS)
    for axes, resolution in zip(figure.axes, ("32", "64"), strict=True):
        mine = points[(points["resolution"] == resolution) & (points["models"] > 0)]
        assert [text.get_text() for text in axes.texts] == [str(value) for value in mine["frames"]]
        for method in s.SKILL:
            rows = mine[mine["method"] == method]
            expected = sorted(zip(rows["above_resting_bytes"] / 2**20, rows["accuracy"], strict=True))
            assert data(axes, looks([(method, method)])[method].color) == expected


def test_more_methods_do_not_change_the_looks_of_shipped_ones() -> None:
    few = looks([(name, name) for name in SHIPPED])
    many = looks([(name, name) for name in (*SHIPPED, "aaa", "zzz", *(f"m{i}" for i in range(20)))])
    assert {name: many[name] for name in SHIPPED} == few
    assert len({(one.color, one.marker, one.line) for one in many.values()}) == len(many)


def test_a_second_config_keeps_the_colour_and_changes_the_marker() -> None:
    both = looks([("casa [gists=2]", "casa"), ("casa [gists=4]", "casa")])
    assert len({one.color for one in both.values()}) == 1
    assert len({one.marker for one in both.values()}) == 2


def test_footer_names_hardware_versions_commit_sizes_and_seeds() -> None:
    records = s.run(frames=(8,), resolutions=(64,))
    clips = {record.key.digest: 200 for record in records}
    assert footer_lines(records_to_frame(records, clips)) == [
        "Example CPU @ 2.80GHz, 2 threads",
        "torch 2.13.0+cpu; harness 0.1.0, commit 0123456789+dirty",
        "320 questions from 200 clips per cell; seeds 0, 1 and 2",
    ]
    gpu = s.record(s.key(), env=s.environment(gpu="Example GPU", cpu="", commit=None, dirty=None, threads=1))
    assert footer_lines(records_to_frame([gpu])) == [
        "Example GPU, 1 thread",
        "torch 2.13.0+cpu; harness 0.1.0, commit unknown",
        "320 questions from unknown number of clips per cell; seed 0",
    ]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([s.record(s.key())], id="one record"),
        pytest.param([s.record(s.key(), s.failed("crash"))], id="one failure"),
        pytest.param(
            [
                s.record(s.key(), Ok(measures=s.measures(s.key(), accuracy=None, by_kind={}))),
                s.record(s.key(frames=2), s.failed("timeout")),
            ],
            id="cost only",
        ),
        pytest.param(
            [s.record(s.key(HOSTILE, task=HOSTILE), env=s.environment(cpu=HOSTILE, gpu="$1"))],
            id="hostile names",
        ),
    ],
)
def test_unusual_runs_are_drawn_without_a_warning(records: list[Record]) -> None:
    cells = records_to_frame(records)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            curves(cells, "frames"),
            curves(cells, "resolution"),
            accuracy_against_memory(cells),
        ):
            figure.draw_without_rendering()


def test_hostile_names_are_drawn_in_the_heat_map() -> None:
    figure = heat([s.record(s.key(HOSTILE, task=HOSTILE))])
    figure.draw_without_rendering()
    assert (
        figure.axes[0]
        .get_yticklabels()[0]
        .get_text()
        .lstrip("\N{ZERO WIDTH SPACE}")
        .startswith(r"_\$x^{\$ <b>|")
    )


def test_a_method_name_that_starts_with_an_underscore_is_in_the_legend() -> None:
    cells = records_to_frame([s.record(s.key("_mine"))])
    assert "_mine" in texts(curves(cells, "frames"))


def test_the_same_data_give_the_same_files() -> None:
    cells = records_to_frame([s.record(s.key())])
    assert render(curves(cells, "frames")) == render(curves(cells, "frames"))
