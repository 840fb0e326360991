"""Plots are tested on the data that reaches them, against committed files and against the frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.counting.records import Cost, Counted, CountKey, CountRecord, NotCounted, Peak
from harness.records import Ok, Record
from harness.report.frame import kinds_to_frame, records_to_frame
from harness.report.kinds import kind_table
from harness.report.plots import memory_by_kind
from harness.report.plots.axes import beside
from harness.report.plots.curves import METRICS, curves
from harness.report.plots.kinds import kinds_heatmap
from harness.report.plots.model import HeatMap, Lines, Plot, Series, StackedBars, as_json
from harness.report.plots.notes import notes
from harness.report.plots.tradeoff import Cost as CostName
from harness.report.plots.tradeoff import tradeoff
from harness.report.points import Over, at, over_models, reference_point
from harness.report.timed import timed_curves
from tests.report import synthetic as s
from tests.report.made import timing
from tests.timing.made import around

GOLDEN = Path(__file__).parent / "golden" / "plots"
RECORDS = s.run(frames=(1, 2, 32), seeds=(0, 1))
CELLS = records_to_frame(RECORDS)
TIMED = [
    timing({"token_insertion": around(frames), "vanilla_ca": around(2), "casa": around(8, seed=1)}, frames)
    for frames in (1, 2, 32, 64)
]
MIB = 2**20


def count(method: str = "casa", frames: int = 2, **changes: object) -> CountRecord:
    """A counted prefill that matches the synthetic run's cells."""
    key = CountKey.model_validate(
        {
            "mode": "prefill",
            "method": method,
            "method_config": s.key(method).method_config,
            "backbone": "reference",
            "frames": frames,
            "height": 64,
            "width": 64,
            "text": 64,
            "text_per_frame": 0,
            "encode_batch": 8,
            "dtype": "float32",
            "kernels": "cpu",
            "optimizer": None,
        }
        | changes
    )
    kinds = {
        "parameters": 3 * MIB,
        "image_kv": frames * MIB,
        "activations": frames * MIB // 2,
        "gradients": 0,
    }
    peak = Peak(
        peak_bytes=sum(kinds.values()),
        resting_bytes=3 * MIB,
        phase="prefill",
        phases={"prefill": sum(kinds.values())},
        at_peak=kinds,
        peak_site="",
        state_bytes={},
        kv_tokens=1,
        parameters=1,
        counted=Cost(kv_bytes=1, flops=None, bytes_moved=None),
        analytic=None,
        routes=(),
        alive=(),
        substrate="meta",
        reason=None,
    )
    return CountRecord(key=key, environment=s.environment(), cpu_seconds=0.1, outcome=Counted(peak=peak))


COUNTED = [count(method, frames) for method in ("token_insertion", "casa") for frames in (1, 2, 32)]


def heat(records: list[Record]) -> Plot:
    cells, kinds = records_to_frame(records), kinds_to_frame(records)
    place = reference_point(over_models(cells))
    assert place is not None
    table = kind_table(kinds, place)
    assert table is not None
    return kinds_heatmap(table, at(cells, place))


PLOTS: dict[str, Callable[[], Plot]] = {
    "frames": lambda: curves(CELLS, "frames", COUNTED),
    "resolution": lambda: curves(CELLS, "resolution"),
    "frames_in_turns": lambda: curves(CELLS, "frames", timed=timed_curves(CELLS, TIMED, {}, "frames")),
    "memory": lambda: tradeoff(CELLS, "memory"),
    "latency": lambda: tradeoff(CELLS, "latency"),
    "kinds": lambda: heat(RECORDS),
    "memory_by_kind": lambda: memory_by_kind([*COUNTED, count("casa", 8)]),
}


def close(one: object, other: object) -> bool:
    """Equal, numbers to a relative 1e-9."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(1.0, abs(one), abs(other))
    return one == other


@pytest.mark.parametrize("name", PLOTS)
def test_the_data_of_every_plot_are_the_committed_ones(name: str) -> None:
    """After a change that is meant: ``python -m tests.report.test_plots`` writes the files anew."""
    data = json.loads(json.dumps(as_json(PLOTS[name]()), allow_nan=False))
    assert close(data, json.loads((GOLDEN / f"{name}.json").read_text()))


def lines_of(plot: Plot) -> list[Lines]:
    assert all(isinstance(panel, Lines) for panel in plot.panels)
    return [panel for panel in plot.panels if isinstance(panel, Lines)]


def series(panel: Lines, role: str) -> dict[str, Series]:
    """By method, or by name where they are no method's."""
    return {one.method or one.name: one for one in panel.series if one.role == role}


@pytest.mark.parametrize("row", range(len(METRICS)))
def test_curves_hold_the_points_of_the_frame(row: int) -> None:
    points, metric = over_models(CELLS), METRICS[row]
    panels = lines_of(PLOTS["frames"]())
    for facet, resolution in enumerate(("32", "64")):
        measured = series(panels[2 * row + facet], "measured")
        for method in s.SKILL:
            mine = points[(points["method"] == method) & (points["resolution"] == resolution)]
            mine = mine[mine[metric.column].notna()]
            assert list(measured[method].x) == mine["frames"].tolist()
            assert list(measured[method].y) == (mine[metric.column] * metric.factor).tolist()
            assert list(measured[method].hollow) == mine["extrapolated"].tolist()
            if metric.low is not None:
                assert list(measured[method].low) == (mine[metric.low] * metric.factor).tolist()


def test_the_time_of_a_decoded_token_has_panels() -> None:
    assert [metric.column for metric in METRICS] == [
        "accuracy",
        "above_resting_bytes",
        "ttft_ms",
        "per_frame_ms",
        "per_token_ms",
    ]
    assert lines_of(PLOTS["frames"]())[-1].y.title == "Time per\ndecoded token (ms)"


@pytest.mark.parametrize("name", ["frames", "resolution", "memory", "latency"])
def test_nothing_lies_outside_its_panel(name: str) -> None:
    for panel in lines_of(PLOTS[name]()):
        for one in panel.series:
            assert all(panel.x.low <= x <= panel.x.high for x in one.x)
            assert all(panel.y.low <= y <= panel.y.high for y in one.y)


def test_single_seeds_stand_beside_their_mean_in_the_accuracy_panels_only() -> None:
    panel = lines_of(PLOTS["frames"]())[0]
    mine = CELLS[(CELLS["method"] == "vanilla_ca") & (CELLS["resolution"] == "32")]
    single = series(panel, "single")["vanilla_ca"]
    assert sorted(single.y) == sorted(mine["accuracy"])
    assert set(single.x) == {x * beside([1, 2, 32]) for x in (1, 2, 32)}
    assert all(not series(other, "single") for other in lines_of(PLOTS["frames"]())[2:])


def test_a_failure_is_marked_where_it_happened_in_every_panel() -> None:
    for index, panel in enumerate(lines_of(PLOTS["frames"]())):
        found = [(one.method, one.x, one.text) for one in panel.failures]
        assert found == ([] if index % 2 == 0 else [("token_insertion", 32, "OOM")])
    assert "out of memory (2 models)" in panel.failures[0].hover


def test_levels_follow_the_kinds_that_can_be_asked() -> None:
    cells = records_to_frame(s.run(frames=(2, 4), seeds=(0,)))
    chance = series(lines_of(curves(cells, "frames"))[0], "level")["chance"]
    assert chance.x == (2.0, 4.0)
    assert chance.y == pytest.approx([0.1, (5 * 0.1 + 3 * 0.25) / 8])


def test_at_most_four_panels_stand_in_a_row_and_each_has_a_curve() -> None:
    plot = curves(records_to_frame(s.run(frames=(1, 2, 4, 8, 32), seeds=(0,))), "resolution")
    assert (plot.columns, len(plot.panels)) == (4, 4 * len(METRICS))
    assert [panel.title for panel in plot.panels[:4]] == ["1 frame", "2 frames", "8 frames", "32 frames"]
    assert lines_of(plot)[-1].x.texts == ("32", "64")
    uneven = records_to_frame([*s.run(frames=(1, 2), resolutions=(32,)), *s.run((2,), (16, 64))])
    assert curves(uneven, "frames").title.endswith("32 pixels")


def test_oblong_resolutions_are_labelled_height_by_width() -> None:
    records = [s.record(s.key(height=h, width=w)) for h, w in ((32, 32), (32, 64))]
    assert lines_of(curves(records_to_frame(records), "resolution"))[0].x.texts == ("32", "32x64")


def test_counted_memory_is_a_line_of_its_own_where_it_stands_for_the_same() -> None:
    others = [
        count(backbone="qwen2.5-vl-3b"),
        count(dtype="bfloat16"),
        count(mode="train", optimizer="sgd"),
        count(text_per_frame=3),
        count(frames=7),
        count("flamingo"),
        count().model_copy(update={"outcome": NotCounted(message="broken")}),
    ]
    panels = lines_of(curves(CELLS, "frames", [*others, *COUNTED]))
    assert [bool(series(panel, "counted")) for panel in panels] == [index == 3 for index in range(10)]
    counted = series(panels[3], "counted")
    assert list(counted) == ["token_insertion", "casa"]
    assert counted["casa"].x == (1.0, 2.0, 32.0)
    assert counted["casa"].y == pytest.approx([1.5, 3.0, 48.0])


@pytest.mark.parametrize(("cost", "column"), [("memory", "above_resting_bytes"), ("latency", "ttft_ms")])
def test_trade_offs_hold_every_measured_point_and_label_the_ends(cost: CostName, column: str) -> None:
    points = over_models(CELLS)
    for panel, resolution in zip(lines_of(tradeoff(CELLS, cost)), ("32", "64"), strict=True):
        for method, line in series(panel, "measured").items():
            rows = points[(points["method"] == method) & (points["resolution"] == resolution)]
            rows = rows[rows["models"] > 0]
            factor = MIB if cost == "memory" else 1
            assert list(line.x) == pytest.approx((rows[column] / factor).tolist())
            assert list(line.y) == rows["accuracy"].tolist()
            assert (line.labels[0], line.labels[-1]) == (str(rows["frames"].min()), str(rows["frames"].max()))


def test_no_point_of_a_trade_off_beats_its_front() -> None:
    for panel in lines_of(PLOTS["memory"]()):
        front = series(panel, "front")["Pareto front"]
        told = 0
        for line in series(panel, "measured").values():
            for x, y, hover in zip(line.x, line.y, line.hover, strict=True):
                beaten = any(
                    a <= x and b >= y and (a, b) != (x, y) for a, b in zip(front.x, front.y, strict=True)
                )
                assert beaten != hover.endswith("on the Pareto front")
                told += not beaten
        assert told == len(front.x)


def test_the_heat_map_holds_methods_and_reference_rows() -> None:
    records = s.run(frames=(8,), resolutions=(64,), seeds=(0, 1))
    (panel,) = heat([one for one in records if one.key.method != "token_insertion"]).panels
    assert isinstance(panel, HeatMap)
    assert panel.rows == ("vanilla_ca", "casa", "last-frame oracle", "blind oracle", "chance")
    assert panel.methods == ("vanilla_ca", "casa", None, None, None)
    kinds = kinds_to_frame(records)
    mine = kinds[(kinds["method"] == "casa") & (kinds["kind"] == "motion")]["accuracy"].mean()
    assert panel.values[1][list(s.KINDS).index("motion")] == pytest.approx(mine)
    assert (panel.values[2][0], panel.values[4][-1]) == (1.0, 0.25)


def test_the_heat_map_has_no_value_where_a_kind_was_not_asked() -> None:
    cells = [s.key("casa"), s.key("vanilla_ca")]
    full = s.measures(cells[1])
    part = full.model_copy(update={"by_kind": {"motion": full.by_kind["motion"]}})
    (panel,) = heat([s.record(cells[0]), s.record(cells[1], Ok(measures=part))]).panels
    assert isinstance(panel, HeatMap)
    assert [value is None for value in panel.values[0]].count(True) == len(s.KINDS) - 1
    assert [text == "–" for text in panel.texts[0]].count(True) == len(s.KINDS) - 1  # noqa: RUF001


def test_stacks_hold_the_bytes_of_every_kind_and_add_up_to_the_peak() -> None:
    broken = count("voco").model_copy(update={"outcome": NotCounted(message="broken")})
    plot = memory_by_kind([*COUNTED, broken])
    assert [panel.title for panel in plot.panels] == ["token_insertion", "casa"]
    for panel in plot.panels:
        assert isinstance(panel, StackedBars)
        assert panel.bars == ("1", "2", "32")
        assert [layer.name for layer in panel.layers] == ["parameters", "image kv", "activations"]
        for index, frames in enumerate((1, 2, 32)):
            heights = [layer.values[index] or 0.0 for layer in panel.layers]
            assert sum(heights) == pytest.approx(3 + 1.5 * frames)


def test_stacks_of_different_scenarios_stand_apart_and_say_what_differs() -> None:
    plot = memory_by_kind(
        [count(), count(mode="train", optimizer="sgd"), count(frames=4, height=32, width=32)]
    )
    assert [panel.title for panel in plot.panels] == ["casa, prefill, no optimizer", "casa, train, sgd"]
    assert isinstance(plot.panels[0], StackedBars)
    assert plot.panels[0].bars == ("4 × 32", "2 × 64")  # noqa: RUF001
    assert memory_by_kind([]).panels == ()


def test_notes_name_hardware_versions_commit_sizes_and_seeds() -> None:
    records = s.run(frames=(8,), resolutions=(64,))
    clips = {record.key.digest: 200 for record in records}
    assert notes(records_to_frame(records, clips)) == (
        "Example CPU @ 2.80GHz, 2 threads",
        "torch 2.13.0+cpu; harness 0.1.0, commit 0123456789+dirty",
        "320 questions from 200 clips per cell; seeds 0, 1 and 2",
    )
    gpu = s.record(s.key(), env=s.environment(gpu="Example GPU", cpu="", commit=None, dirty=None, threads=1))
    assert notes(records_to_frame([gpu])) == (
        "Example GPU, 1 thread",
        "torch 2.13.0+cpu; harness 0.1.0, commit unknown",
        "320 questions from unknown number of clips per cell; seed 0",
    )


@pytest.mark.parametrize("over", ["frames", "resolution"])
def test_a_run_of_failures_alone_has_marks_and_no_lines(over: Over) -> None:
    for panel in lines_of(curves(records_to_frame([s.record(s.key(), s.failed("crash"))]), over)):
        assert [one.text for one in panel.failures] == ["crash"]
        assert panel.series == ()


def test_numbers_that_are_none_are_refused() -> None:
    broken = Series(name="x", role="measured", x=(1.0,), y=(float("nan"),))
    panel = lines_of(PLOTS["frames"]())[0]
    plot = Plot(title="t", panels=(Lines(title="", x=panel.x, y=panel.y, series=(broken,)),))
    with pytest.raises(ValueError, match="nan"):
        as_json(plot)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for stem, make in PLOTS.items():
        text = json.dumps(as_json(make()), indent=1, allow_nan=False, ensure_ascii=False)
        (GOLDEN / f"{stem}.json").write_text(text + "\n")
