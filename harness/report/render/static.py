"""Plots as still pictures, by matplotlib and seaborn."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.canvas import (
    FAINT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Drawing,
    add_footer,
    add_header,
    apply,
    lay_out,
    new_figure,
    render,
    style,
)
from harness.report.marks import FRONT, UNBEATEN, legend_entries, place_labels
from harness.report.plots.axes import HEADROOM
from harness.report.plots.model import Failure, HeatMap, Lines, Panel, Plot, Series, StackedBars
from harness.report.style import COUNTED_LINE, EXTRAPOLATED_LINE, LAYERS, LEVELS, UNKNOWN, Look
from harness.report.text import NO_DATA
from harness.report.text import plot as safe

LONGEST_TITLE = 40


def picture(shown: Plot, looks: Mapping[str, Look]) -> Drawing:
    """The plot as PNG and SVG."""
    return render(draw(shown, looks))


def draw(shown: Plot, looks: Mapping[str, Look]) -> Figure:
    """The plot as a figure, laid out; ``looks`` are those of all methods of the report."""
    looks = {label: looks.get(label, UNKNOWN) for label in shown.methods()}
    with style():
        if any(isinstance(panel, HeatMap) for panel in shown.panels):
            return _heat_maps(shown)
        if any(isinstance(panel, StackedBars) for panel in shown.panels):
            return _stacks(shown)
        return _lines(shown, looks)


def _grid(shown: Plot, width: float, height: float, least: float) -> tuple[Figure, list[Axes]]:
    columns = max(shown.columns, 1)
    rows = max(-(-len(shown.panels) // columns), 1)
    figure = new_figure(max(width * columns, least), height * rows + 0.75)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(shown.panels) :]:
        axes.set_axis_off()
    return figure, grid[: len(shown.panels)]


def _lines(shown: Plot, looks: Mapping[str, Look]) -> Figure:
    width, height = (PANEL_WIDTH + 0.5, 3.0) if shown.scatters else (PANEL_WIDTH, PANEL_HEIGHT)
    figure, grid = _grid(shown, width, height, 6.6)
    for axes, panel in zip(grid, shown.panels, strict=True):
        assert isinstance(panel, Lines)
        apply(axes, panel.x, "x")
        apply(axes, panel.y, "y")
        for one in panel.series:
            _series(axes, one, looks)
        _failures(axes, panel.failures, looks)
        if not any(one.role == "measured" for one in panel.series):
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=FAINT)
    _titles(grid, shown, lambda panel: panel.x.title if isinstance(panel, Lines) else "")
    add_header(figure, safe(shown.title, 100), legend_entries(shown, looks))
    add_footer(figure, shown.notes)
    if any(any(one.labels) for panel in shown.panels if isinstance(panel, Lines) for one in panel.series):
        lay_out(figure)
        for axes, panel in zip(grid, shown.panels, strict=True):
            assert isinstance(panel, Lines)
            measured = [one for one in panel.series if one.role == "measured"]
            points = [point for one in measured for point in zip(one.x, one.y, strict=True)]
            place_labels(axes, _labels(panel, looks), points)
    return figure


def _titles(grid: Sequence[Axes], shown: Plot, below: Callable[[Panel], str]) -> None:
    """Each title once: a column's at its top and at its foot, a row's at its left."""
    count, columns = len(shown.panels), shown.columns
    for index, (axes, panel) in enumerate(zip(grid, shown.panels, strict=True)):
        above = shown.panels[index - columns] if index >= columns else None
        under = shown.panels[index + columns] if index + columns < count else None
        left = shown.panels[index - 1] if index % columns else None
        if above is None or above.title != panel.title:
            axes.set_title("\n".join(textwrap.wrap(safe(panel.title, 2 * LONGEST_TITLE), LONGEST_TITLE)))
        if under is None or below(under) != below(panel):
            axes.set_xlabel(below(panel))
        if isinstance(panel, HeatMap):
            continue
        if isinstance(left, (Lines, StackedBars)) and left.y == panel.y:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(panel.y.title)
        if isinstance(panel, Lines) and isinstance(under, Lines) and under.x == panel.x:
            axes.tick_params(labelbottom=False)


def _series(axes: Axes, series: Series, looks: Mapping[str, Look]) -> None:
    x, y = np.array(series.x), np.array(series.y)
    if series.role == "level":
        axes.plot(x, y, **LEVELS[series.name].line_style(), label=series.name, zorder=1.5)
        return
    if series.role == "front":
        axes.plot(x, y, **FRONT, drawstyle="steps-post", solid_capstyle="round", zorder=1.8)
        return
    if series.role == "unbeaten":
        axes.plot(x, y, **UNBEATEN, zorder=1.8)
        return
    look = looks[series.method or ""]
    if series.role == "single":
        _line(
            axes,
            x,
            y,
            linestyle="none",
            marker=look.marker,
            markersize=2.6,
            markeredgewidth=0,
            color=look.color,
            alpha=0.45,
            zorder=2.2,
        )
    elif series.role == "counted":
        _line(
            axes,
            x,
            y,
            color=look.color,
            linestyle=COUNTED_LINE,
            linewidth=1.1,
            marker="_",
            markersize=5,
            zorder=2.6,
        )
    else:
        _measured(axes, series, x, y, look)


def _measured(axes: Axes, series: Series, x: np.ndarray, y: np.ndarray, look: Look) -> None:
    if series.low and series.high:
        low, high = (np.array(bound, dtype=float) for bound in (series.low, series.high))
        if len(x) > 1:
            axes.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0)
        else:
            axes.vlines(x, low, high, color=look.color, alpha=0.16, linewidth=6)
    if series.x_low and series.x_high:
        least, most = (np.array(bound, dtype=float) for bound in (series.x_low, series.x_high))
        axes.hlines(y, least, most, color=look.color, alpha=0.7, linewidth=1.1, zorder=2.4)
    outside = np.array(series.hollow, dtype=bool) if series.hollow else np.zeros(len(x), dtype=bool)
    if not outside.all():
        _line(axes, x, np.where(outside, np.nan, y), color=look.color, linewidth=1.4, zorder=2.5)
    first = np.nonzero(outside[:-1] | outside[1:])[0]
    if len(first):
        gap = np.full(len(first), np.nan)
        pairs = [np.column_stack((values[first], values[first + 1], gap)).ravel() for values in (x, y)]
        _line(axes, *pairs, color=look.color, linestyle=EXTRAPOLATED_LINE, linewidth=1.4, zorder=2.5)
    for hollow in (False, True):
        chosen = outside == hollow
        if chosen.any():
            _line(
                axes,
                x[chosen],
                y[chosen],
                linestyle="none",
                marker=look.marker,
                markersize=5,
                color=look.color,
                markerfacecolor="white" if hollow else look.color,
                markeredgewidth=1.1,
                zorder=3,
            )


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, **look: Any) -> None:
    """``axes.plot`` for one line on axes whose limits are set, in half of the time."""
    axes.add_line(Line2D(x, y, **look))


def _failures(axes: Axes, failures: Sequence[Failure], looks: Mapping[str, Look]) -> None:
    """A cross in the method's colour at the size where it failed, in the room that the axis leaves."""
    named = set()
    over = axes.get_xaxis_transform()
    for one in failures:
        place = (one.x, 0.955 - HEADROOM * one.row)
        color = looks[one.method].color
        axes.plot(*place, transform=over, marker="X", markersize=5.5, color=color, linestyle="none", zorder=4)
        if (one.method, one.text) in named:
            continue
        named.add((one.method, one.text))
        axes.annotate(
            safe(one.text),
            place,
            xycoords=over,
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6,
            color=color,
        )


def _labels(panel: Lines, looks: Mapping[str, Look]) -> list[tuple[float, float, str, str]]:
    return [
        (x, y, text, looks[series.method or ""].color)
        for series in panel.series
        if series.labels
        for x, y, text in zip(series.x, series.y, series.labels, strict=True)
        if text
    ]


def _heat_maps(shown: Plot) -> Figure:
    (panel,) = shown.panels
    assert isinstance(panel, HeatMap)
    values = np.array([[np.nan if value is None else value for value in row] for row in panel.values])
    figure = new_figure(max(2.6 + 0.92 * len(panel.columns), 6.0), 1.9 + 0.42 * len(panel.rows))
    axes = figure.subplots()
    sns.heatmap(
        values,
        ax=axes,
        vmin=0,
        vmax=1,
        cmap="Blues",
        annot=np.array(panel.texts),
        fmt="",
        xticklabels=False,
        yticklabels=False,
        annot_kws={"fontsize": 6.5},
        linewidths=1,
        linecolor="white",
        cbar_kws={"label": panel.scale, "shrink": 0.8, "pad": 0.015},
    )
    axes.set_facecolor("#f2f2f2")
    for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
        axes.text(column + 0.5, row + 0.5, NO_DATA, ha="center", va="center", color=FAINT, fontsize=7)
    axes.axhline(sum(method is not None for method in panel.methods), color="white", linewidth=5)
    names = [_wrapped(name, 13) for name in panel.columns]
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=6.5)
    axes.set_yticks(np.arange(len(values)) + 0.5, [_wrapped(row, 24) for row in panel.rows], rotation=0)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    figure.suptitle(safe(shown.title, 120))
    add_footer(figure, shown.notes)
    return figure


def _wrapped(name: str, width: int) -> str:
    lines = [part for line in name.split("\n") for part in textwrap.wrap(safe(line), width)]
    return "\n".join(lines) or NO_DATA


def _stacks(shown: Plot) -> Figure:
    figure, grid = _grid(shown, PANEL_WIDTH, PANEL_HEIGHT + 0.35, 6.6)
    layers: dict[str, str] = {}
    for axes, panel in zip(grid, shown.panels, strict=True):
        assert isinstance(panel, StackedBars)
        apply(axes, panel.y, "y")
        foot = np.zeros(len(panel.bars))
        for index, layer in enumerate(panel.layers):
            color = layers.setdefault(layer.name, LAYERS[index % len(LAYERS)])
            heights = np.array([value or 0.0 for value in layer.values])
            axes.bar(range(len(foot)), heights, bottom=foot, color=color, width=0.72, linewidth=0)
            foot += heights
        axes.set_xticks(range(len(panel.bars)), [safe(bar) for bar in panel.bars])
        axes.grid(visible=False, axis="x")
    _titles(grid, shown, lambda panel: panel.x if isinstance(panel, StackedBars) else "")
    handles = [Patch(color=color, label=safe(name)) for name, color in layers.items()]
    add_header(figure, safe(shown.title, 100), handles)
    add_footer(figure, shown.notes)
    return figure
