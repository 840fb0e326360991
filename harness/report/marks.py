"""What several figures draw: their legend, and labels that keep out of each other's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from harness.report.canvas import FAINT
from harness.report.plots.model import Lines, Plot
from harness.report.style import COUNTED_LINE, EXTRAPOLATED_LINE, LEVELS, Look
from harness.report.text import plot

FRONT: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 3.2, "alpha": 0.55}

UNBEATEN: dict[str, Any] = {
    "color": "#8a8a8a",
    "linestyle": "none",
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgewidth": 1.8,
    "alpha": 0.7,
}

_OFFSETS = ((0, 8), (0, -8), (9, 0), (-9, 0), (8, 8), (-8, 8), (8, -8), (-8, -8), (0, 16), (0, -16))
"""Where a label may stand from its point, in typographic points, best first."""


def legend_entries(plot_shown: Plot, look: Mapping[str, Look]) -> list[Line2D | Patch]:
    """Methods, levels, and what the other marks mean, each where it occurs."""
    lines = [panel for panel in plot_shown.panels if isinstance(panel, Lines)]
    series = [one for panel in lines for one in panel.series]
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=look[label].color, marker=look[label].marker, markersize=5, label=plot(label))
        for label in plot_shown.methods()
        if label in look
    ]
    levels = {one.name for one in series if one.role == "level"}
    handles += [
        Line2D([], [], **reference.line_style(), label=name)
        for name, reference in LEVELS.items()
        if name in levels
    ]
    faint: dict[str, Any] = {"color": FAINT, "marker": "o", "linestyle": "none"}
    if any(one.role == "single" for one in series):
        handles.append(Line2D([], [], **faint, markersize=3, markeredgewidth=0, label="single seeds"))
    if any(any(one.hollow) for one in series):
        hollow: dict[str, Any] = faint | {"linestyle": EXTRAPOLATED_LINE, "markerfacecolor": "white"}
        handles.append(Line2D([], [], **hollow, markersize=5, label="extrapolated beyond training"))
    if any(one.role == "counted" for one in series):
        handles.append(Line2D([], [], color=FAINT, linestyle=COUNTED_LINE, label="counted, not measured"))
    if any(one.role == "front" for one in series):
        handles.append(Line2D([], [], **FRONT, label="Pareto front"))
    rings = next((one.name for one in series if one.role == "unbeaten"), None)
    if rings is not None:
        handles.append(Line2D([], [], **(UNBEATEN | {"markersize": 8}), label=rings))
    if any(one.low for one in series):
        handles.append(Patch(color=FAINT, alpha=0.2, label="95 % interval, or quartiles of times"))
    if any(panel.failures for panel in lines):
        handles.append(Line2D([], [], **(faint | {"marker": "X"}), label="failed at this size"))
    return handles


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[float, float, str, str]],
    points: Sequence[tuple[float, float]],
    fontsize: float = 6.5,
) -> None:
    """Write each (x, y, text, colour) beside its point where it covers none of the points and no other text.

    The layout of the figure has to be settled. A label stays inside of the panel; one that finds no free
    place is left out.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    per_point = figure.dpi / 72
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in labels]
    reach = 3 * per_point
    covered = [(x - reach, y - reach, x + reach, y + reach) for x, y in map(axes.transData.transform, points)]
    texts = [text.get_window_extent().extents for text in axes.texts]
    # A row each: left, foot, right, top; filled as labels are placed.
    taken = np.full((len(covered) + len(texts) + len(labels), 4), np.nan)
    count = len(covered) + len(texts)
    taken[:count] = np.reshape([*covered, *texts], (count, 4))
    for (x, y, text, color), mark in zip(labels, marks, strict=True):
        label = axes.annotate(
            plot(text),
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=fontsize,
            color=color,
        )
        size = label.get_window_extent()
        for dx, dy in _OFFSETS:
            left, foot = mark[0] + dx * per_point - size.width / 2, mark[1] + dy * per_point - size.height / 2
            box = Bbox.from_bounds(left, foot, size.width, size.height)
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if inside and not _overlap(box, taken[:count]):
                label.set_position((dx, dy))
                taken[count] = box.extents
                count += 1
                break
        else:
            label.remove()


def _overlap(box: Bbox, taken: np.ndarray) -> bool:
    """Whether the box touches any of those, given as rows of left, foot, right and top."""
    left, foot, right, top = taken.T
    meets = (box.x0 <= right) & (left <= box.x1) & (box.y0 <= top) & (foot <= box.y1)
    return bool(meets.any())
