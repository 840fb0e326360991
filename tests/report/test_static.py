"""What the still pictures add to the data: nothing is lost, colours are the report's, names are harmless."""

from __future__ import annotations

import functools
import warnings
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from harness.records import Ok, Record
from harness.report.frame import records_to_frame
from harness.report.plots.curves import curves
from harness.report.plots.model import HeatMap, Lines, Plot, StackedBars
from harness.report.plots.tradeoff import tradeoff
from harness.report.render.static import draw, picture
from harness.report.style import DARK_PALETTE, PALETTE, SHIPPED, UNKNOWN, Look, looks
from tests.report import synthetic as s
from tests.report.test_plots import PLOTS, heat

LOOKS = looks([(name, name) for name in SHIPPED])
HOSTILE = "_$x^{$ <b>|`*_\n=1+1 \u6f22 " + "very" * 30


@functools.cache
def drawn(name: str) -> tuple[Plot, Figure]:
    plot = PLOTS[name]()
    return plot, draw(plot, LOOKS)


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([*found, *legends])


@pytest.mark.parametrize("name", ["frames", "resolution", "memory", "latency"])
def test_every_point_is_drawn_in_its_method_s_colour(name: str) -> None:
    plot, figure = drawn(name)
    for axes, panel in zip(figure.axes, plot.panels, strict=False):
        assert isinstance(panel, Lines)
        seen = {
            (line.get_color(), float(x), float(y))
            for line in axes.lines
            for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
        }
        for one in panel.series:
            if one.method is not None:
                color = LOOKS[one.method].color
                assert {(color, x, y) for x, y in zip(one.x, one.y, strict=True)} <= seen
        crosses = [line for line in axes.lines if line.get_marker() == "X"]
        assert len(crosses) == len(panel.failures)


def test_extrapolated_points_are_hollow_and_failures_are_named() -> None:
    _, figure = drawn("frames")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xdata()).tolist() for line in hollow] == [[32], [32], [32]]
    for word in ("OOM", "counted, not measured", "extrapolated beyond training", "single seeds"):
        assert word in texts(figure)


def test_counted_lines_are_dashed_and_measured_ones_solid() -> None:
    _, figure = drawn("frames")
    color = LOOKS["casa"].color
    styles = {line.get_marker(): line for line in figure.axes[3].lines if line.get_color() == color}
    assert styles["_"].get_linestyle() == "--"
    assert any(line.get_linestyle() == "-" for line in figure.axes[3].lines if line.get_color() == color)


def test_the_heat_map_draws_the_values_and_a_dash_for_none() -> None:
    plot, figure = drawn("kinds")
    (panel,) = plot.panels
    assert isinstance(panel, HeatMap)
    values = np.asarray(figure.axes[0].collections[0].get_array()).reshape(len(panel.rows), -1)
    assert values.tolist() == [list(row) for row in panel.values]


def test_stacks_stand_on_each_other() -> None:
    plot, figure = drawn("memory_by_kind")
    for axes, panel in zip(figure.axes, plot.panels, strict=False):
        assert isinstance(panel, StackedBars)
        tops = [patch.get_y() + patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
        count = len(panel.bars)
        whole = [sum(layer.values[index] or 0.0 for layer in panel.layers) for index in range(count)]
        assert tops[-count:] == pytest.approx(whole)


def test_more_methods_do_not_change_the_looks_of_shipped_ones() -> None:
    many = looks([(name, name) for name in (*SHIPPED, "aaa", "zzz", *(f"m{i}" for i in range(20)))])
    assert {name: many[name] for name in SHIPPED} == LOOKS
    assert len({(one.color, one.marker) for one in many.values()}) == len(many)


def test_a_second_config_keeps_the_colour_and_changes_the_marker() -> None:
    both = looks([("casa [gists=2]", "casa"), ("casa [gists=4]", "casa")])
    assert len({one.color for one in both.values()}) == 1
    assert len({one.marker for one in both.values()}) == 2


def contrast(one: str, other: str) -> float:
    """WCAG's ratio."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_lines_can_be_told_from_a_dark_ground() -> None:
    assert len(DARK_PALETTE) == len(PALETTE)
    assert all(contrast(color, "#14171c") > 4.5 for color in DARK_PALETTE)


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
        for plot in (
            curves(cells, "frames"),
            curves(cells, "resolution"),
            tradeoff(cells, "memory"),
            tradeoff(cells, "latency"),
        ):
            draw(plot, {}).draw_without_rendering()


def test_hostile_names_are_drawn_in_the_heat_map() -> None:
    figure = draw(heat([s.record(s.key(HOSTILE, task=HOSTILE))]), {})
    figure.draw_without_rendering()
    label = figure.axes[0].get_yticklabels()[0].get_text()
    assert label.lstrip("\N{ZERO WIDTH SPACE}").startswith(r"_\$x^{\$ <b>|")


def test_a_method_name_that_starts_with_an_underscore_is_in_the_legend() -> None:
    cells = records_to_frame([s.record(s.key("_mine"))])
    look: dict[str, Look] = looks([("_mine", "_mine")])
    assert "_mine" in texts(draw(curves(cells, "frames"), look))


def test_a_label_that_is_no_method_of_the_report_has_a_look() -> None:
    plot, _ = drawn("memory")
    lines = draw(plot, {}).axes[0].lines
    assert any(line.get_color() == UNKNOWN.color for line in lines)


def test_the_page_s_small_pictures_keep_every_method_s_colour() -> None:
    records = [s.record(s.key(name, frames=frames)) for name in SHIPPED for frames in (1, 2)]
    drawing = picture(curves(records_to_frame(records), "frames"), LOOKS)
    assert len(drawing.webp) < len(drawing.png) / 2
    pixels = np.asarray(Image.open(BytesIO(drawing.webp)).convert("RGB"), dtype=int).reshape(-1, 3)
    for name, look in LOOKS.items():
        color = [int(look.color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - color).max(axis=1) < 14).sum() >= 12, name


def test_the_same_data_give_the_same_files() -> None:
    plot = curves(records_to_frame([s.record(s.key())]), "frames")
    assert picture(plot, LOOKS) == picture(plot, LOOKS)
