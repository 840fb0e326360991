"""What several figures draw: reference levels, their legend, and labels that keep out of each other's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from harness.report.canvas import FAINT
from harness.report.points import numeric
from harness.report.style import EXTRAPOLATED_LINE, Look, Reference, ordered
from harness.report.text import plot

_OFFSETS = ((0, 8), (0, -8), (9, 0), (-9, 0), (8, 8), (-8, 8), (8, -8), (-8, -8), (0, 16), (0, -16))
"""Where a label may stand from its point, in typographic points, best first."""


def draw_references(axes: Axes, points: pd.DataFrame, x: str, references: Mapping[str, Reference]) -> None:
    """The levels of chance and the oracles against ``x``; they move with the kinds that can be asked."""
    for column, reference in references.items():
        levels = points.groupby(x)[column].mean().dropna()
        if len(levels) == 1:
            axes.axhline(levels.iloc[0], **reference.line_style(), label=reference.label, zorder=1.5)
        elif len(levels):
            axes.plot(levels.index, levels, **reference.line_style(), label=reference.label, zorder=1.5)


def legend_entries(
    points: pd.DataFrame, look: Mapping[str, Look], references: Mapping[str, Reference]
) -> list[Line2D | Patch]:
    """Methods, references that have data, single seeds and extrapolation, each where it occurs."""
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=look[label].color,
            linestyle=look[label].line,
            marker=look[label].marker,
            markersize=5,
            label=plot(label),
        )
        for label in ordered(list(zip(points["method"], points["method_name"], strict=True)))
    ]
    handles += [
        Line2D([], [], **reference.line_style(), label=reference.label)
        for column, reference in references.items()
        if numeric(points[column]).notna().any()
    ]
    if len(points) and points["models"].max() > 1:
        dots: dict[str, Any] = {
            "color": FAINT,
            "marker": "o",
            "markersize": 3,
            "markeredgewidth": 0,
            "linestyle": "none",
        }
        handles.append(Line2D([], [], **dots, label="single seeds, beside their mean"))
    if points["extrapolated"].any():
        hollow: dict[str, Any] = {"color": FAINT, "marker": "o", "markersize": 5, "markerfacecolor": "white"}
        handles.append(
            Line2D([], [], **hollow, linestyle=EXTRAPOLATED_LINE, label="extrapolated beyond training")
        )
    return handles


def place_labels(axes: Axes, labels: Sequence[tuple[float, float, str, str]], fontsize: float = 6.5) -> None:
    """Write each (x, y, text, colour) beside its point where it covers no point and no other label.

    The layout of the figure has to be settled. A label stays between the panel's lower and upper edge; where
    every place is taken the first one is used.
    """
    per_point = axes.figure.dpi / 72
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in labels]
    taken = [
        Bbox.from_bounds(x - 3 * per_point, y - 3 * per_point, 6 * per_point, 6 * per_point) for x, y in marks
    ]
    for (x, y, text, color), mark in zip(labels, marks, strict=True):
        width, height = 0.66 * fontsize * len(text) * per_point, fontsize * per_point
        boxes = [
            Bbox.from_bounds(
                mark[0] + dx * per_point - width / 2, mark[1] + dy * per_point - height / 2, width, height
            )
            for dx, dy in _OFFSETS
        ]
        inside = [
            index
            for index, box in enumerate(boxes)
            if axes.bbox.ymin <= box.ymin and box.ymax <= axes.bbox.ymax
        ]
        free = [index for index in inside if not any(boxes[index].overlaps(other) for other in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        axes.annotate(
            text,
            (x, y),
            xytext=_OFFSETS[best],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=fontsize,
            color=color,
        )
