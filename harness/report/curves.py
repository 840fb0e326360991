"""Accuracy and cost against frames or against resolution: small multiples, one line per method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.canvas import (
    FAINT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    add_footer,
    add_header,
    log2_x,
    log2_y,
    new_figure,
    style,
)
from harness.report.marks import draw_references, legend_entries
from harness.report.points import numeric, over_models, rows_of
from harness.report.style import EXTRAPOLATED_LINE, FAILURES, REFERENCES, Look, looks, ordered
from harness.report.text import numbered, plot

Axis = Literal["frames", "resolution"]
MOST_FACETS = 4
HEADROOM = 0.085
"""Share of a panel's height that is kept free for the failures of one method."""
LOG_FROM = 6.0
"""A cost axis is logarithmic where the largest value is more than so many times the smallest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of panels: the column, its band and the factor from the column's unit to the label's."""

    column: str
    label: str
    low: str | None = None
    high: str | None = None
    factor: float = 1.0
    share: bool = False


METRICS = (
    Metric(column="accuracy", label="Accuracy", low="accuracy_low", high="accuracy_high", share=True),
    Metric(column="above_resting_bytes", label="Peak memory\nabove resting (MiB)", factor=2**-20),
    Metric(column="ttft_ms", label="Time to\nfirst token (ms)", low="ttft_q25_ms", high="ttft_q75_ms"),
    Metric(
        column="per_frame_ms",
        label="Time per\nappended frame (ms)",
        low="per_frame_q25_ms",
        high="per_frame_q75_ms",
    ),
)


def curves(cells: pd.DataFrame, axis: Axis) -> Figure:
    """The four metrics of one setting against ``axis``, with a column of panels per value of the other axis.

    Lines are means (accuracy) or medians (cost) over models; bands are 95 % intervals over samples (accuracy)
    or quartiles of the raw times (latency); faint dots are single models.
    """
    points = over_models(cells)
    look = looks(list(zip(points["method"], points["method_name"], strict=True)))
    facets = _facets(points, axis)
    with style():
        single = len(facets) == 1
        rows, columns = (2, 2) if single else (len(METRICS), len(facets))
        figure = new_figure(max(PANEL_WIDTH * columns, 6.6), PANEL_HEIGHT * rows + 0.75)
        grid = figure.subplots(rows, columns, sharex=True, sharey=False if single else "row", squeeze=False)
        for column, facet in enumerate(facets):
            here = points[points[_other(axis)] == facet]
            single_models = cells[(cells[_other(axis)] == facet) & (cells["outcome"] == "ok")]
            for row, metric in enumerate(METRICS):
                axes = grid[row // 2, row % 2] if single else grid[row, column]
                _panel(axes, metric, axis, here, single_models, look)
                if single or column == 0:
                    axes.set_ylabel(metric.label)
                if not single and row == 0:
                    axes.set_title(_facet_name(axis, facet))
        for row, metric in enumerate(METRICS):
            _y_axis(grid.flat[row] if single else grid[row, 0], metric, points)
        for axes in grid[-1]:
            _x_axis(axes, axis, points)
        title = f"{plot(cells['task'].iloc[0])} against {axis}"
        add_header(
            figure, f"{title}, {_facet_name(axis, facets[0])}" if single else title, _legend(points, look)
        )
        add_footer(figure, cells)
    return figure


def _other(axis: Axis) -> str:
    return "resolution" if axis == "frames" else "frames"


def _facets(points: pd.DataFrame, axis: Axis) -> list[object]:
    """Values of the other axis in order; evenly spaced ones, ends included, where there are too many."""
    order = points.drop_duplicates(_other(axis)).sort_values("side_px" if axis == "frames" else "frames")
    values = order[_other(axis)].tolist()
    if len(values) <= MOST_FACETS:
        return values
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, MOST_FACETS)]


def _facet_name(axis: Axis, facet: object) -> str:
    return f"{facet} pixels" if axis == "frames" else numbered(int(str(facet)), "frame")


def _panel(
    axes: Axes,
    metric: Metric,
    axis: Axis,
    points: pd.DataFrame,
    models: pd.DataFrame,
    look: dict[str, Look],
) -> None:
    x = "frames" if axis == "frames" else "side_px"
    if metric.share:
        draw_references(axes, points, x, REFERENCES)
    for label in ordered(list(zip(points["method"], points["method_name"], strict=True))):
        rows = points[points["method"] == label].sort_values(x)
        _method(axes, metric, rows, models[models["method"] == label], x, look[label])
    _failures(axes, points, x, look)
    if not numeric(points[metric.column]).notna().any():
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=FAINT)


def _method(axes: Axes, metric: Metric, rows: pd.DataFrame, models: pd.DataFrame, x: str, look: Look) -> None:
    data = rows[numeric(rows[metric.column]).notna()]
    if not len(data):
        return
    at, y = numeric(data[x]), numeric(data[metric.column]) * metric.factor
    outside = data["extrapolated"].astype(bool).to_numpy()
    if metric.low is not None and metric.high is not None:
        low, high = numeric(data[metric.low]) * metric.factor, numeric(data[metric.high]) * metric.factor
        if len(data) > 1:
            axes.fill_between(at, low, high, color=look.color, alpha=0.16, linewidth=0)
        else:
            axes.vlines(at, low, high, color=look.color, alpha=0.16, linewidth=6)
    if metric.share and rows["models"].max() > 1:
        axes.plot(
            numeric(models[x]) * beside(rows[x]),
            numeric(models[metric.column]) * metric.factor,
            linestyle="none",
            marker=look.marker,
            markersize=2.6,
            markeredgewidth=0,
            color=look.color,
            alpha=0.45,
            zorder=2.2,
        )
    trained = np.where(outside, np.nan, y)
    axes.plot(at, trained, color=look.color, linestyle=look.line, linewidth=1.4, zorder=2.5)
    for first in range(len(data) - 1):
        if outside[first] or outside[first + 1]:
            pair = slice(first, first + 2)
            axes.plot(
                at.iloc[pair],
                y.iloc[pair],
                color=look.color,
                linestyle=EXTRAPOLATED_LINE,
                linewidth=1.4,
                zorder=2.5,
            )
    for hollow in (False, True):
        chosen = outside == hollow
        if chosen.any():
            axes.plot(
                at[chosen],
                y[chosen],
                linestyle="none",
                marker=look.marker,
                markersize=5,
                color=look.color,
                markerfacecolor="white" if hollow else look.color,
                markeredgewidth=1.1,
                zorder=3,
            )


def beside(x: pd.Series) -> float:
    """The factor that moves a dot a little to the right of its mean on a logarithmic axis over ``x``."""
    return float(2 ** (0.03 * max(np.log2(x.max() / x.min()), 0.6)))


def _failures(axes: Axes, points: pd.DataFrame, x: str, look: dict[str, Look]) -> None:
    """A cross in the method's colour at the size where it failed, in the room that :func:`_y_axis` leaves."""
    failed = points[points["failed"] > 0]
    order = ordered(list(zip(failed["method"], failed["method_name"], strict=True)))
    named = set()
    for row in rows_of(failed.sort_values(x)):
        kinds = "/".join(FAILURES.get(kind, kind) for kind in row["failures"].split(", "))
        place = (row[x], 0.955 - HEADROOM * order.index(row["method"]))
        color = look[row["method"]].color
        over = axes.get_xaxis_transform()
        axes.plot(*place, transform=over, marker="X", markersize=5.5, color=color, linestyle="none", zorder=4)
        if (row["method"], kinds) in named:
            continue
        named.add((row["method"], kinds))
        axes.annotate(
            kinds,
            place,
            xycoords=over,
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6,
            color=color,
        )


def _y_axis(axes: Axes, metric: Metric, points: pd.DataFrame) -> None:
    values = numeric(points[metric.column]).dropna() * metric.factor
    if metric.share:
        axes.set_ylim(-0.02, 1.03)
        axes.set_yticks(np.linspace(0, 1, 6))
    elif len(values) and values.min() > 0 and values.max() / values.min() > LOG_FROM:
        log2_y(axes)
    elif len(values) and values.min() >= 0:
        shared = axes.get_shared_y_axes().get_siblings(axes)
        axes.set_ylim(0, max(1.08 * max(one.dataLim.y1 for one in shared), 1e-9))
    room = HEADROOM * points[points["failed"] > 0]["method"].nunique()
    low, high = axes.get_ylim()
    grown = 1 / (1 - min(room, 0.5))
    top = low * (high / low) ** grown if axes.get_yscale() == "log" else low + (high - low) * grown
    axes.set_ylim(low, top)


def _x_axis(axes: Axes, axis: Axis, points: pd.DataFrame) -> None:
    if axis == "frames":
        log2_x(axes, sorted(float(value) for value in set(points["frames"])))
        axes.set_xlabel("Frames (log scale)")
    else:
        sizes = points.drop_duplicates("resolution").sort_values("side_px")
        log2_x(axes, sizes["side_px"].tolist(), sizes["resolution"].tolist())
        axes.set_xlabel("Resolution (pixels, log scale)")


def _legend(points: pd.DataFrame, look: dict[str, Look]) -> list[Line2D | Patch]:
    handles = legend_entries(points, look, REFERENCES)
    handles.append(Patch(color=FAINT, alpha=0.2, label="95 % interval, or quartiles of times"))
    if points["failed"].any():
        handles.append(Line2D([], [], color=FAINT, marker="X", linestyle="none", label="failed at this size"))
    return handles
