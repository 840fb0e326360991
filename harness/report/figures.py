"""Accuracy by kind of question, and accuracy against memory."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.canvas import FAINT, PANEL_WIDTH, add_footer, add_header, log2_x, new_figure, style
from harness.report.kinds import KindTable
from harness.report.marks import legend_entries, place_labels
from harness.report.points import numeric, over_models, rows_of
from harness.report.style import REFERENCES, Look, looks
from harness.report.text import NO_DATA, interval, number, plot, share

MIB = 2**20


def kinds_heatmap(table: KindTable, cells: pd.DataFrame) -> Figure:
    """Accuracy of methods, chance and oracles by kind; ``cells`` are those of the table's place."""
    values = table.accuracy.astype(float)
    texts = values.map(share)
    for label in table.low.index:
        for kind in values.columns:
            if np.isfinite(table.low.loc[label, kind]):
                texts.loc[label, kind] += "\n" + interval(
                    table.low.loc[label, kind], table.high.loc[label, kind]
                )
    with style():
        width = 2.6 + 0.92 * len(values.columns)
        figure = new_figure(max(width, 6.0), 1.9 + 0.42 * len(values))
        axes = figure.subplots()
        sns.heatmap(
            values,
            ax=axes,
            vmin=0,
            vmax=1,
            cmap="Blues",
            annot=texts,
            fmt="",
            xticklabels=False,
            yticklabels=False,
            annot_kws={"fontsize": 6.5},
            linewidths=1,
            linecolor="white",
            cbar_kws={"label": "Accuracy", "shrink": 0.8, "pad": 0.015},
        )
        axes.set_facecolor("#f2f2f2")
        for row, column in zip(*np.nonzero(values.isna().to_numpy()), strict=True):
            axes.text(column + 0.5, row + 0.5, NO_DATA, ha="center", va="center", color=FAINT, fontsize=7)
        axes.axhline(len(table.low), color="white", linewidth=5)
        names = [
            f"{_wrapped(kind.replace('_', ' '), 13)}\n(n = {table.questions[kind]:,})"
            for kind in values.columns
        ]
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=6.5)
        axes.set_yticks(
            np.arange(len(values)) + 0.5, [_wrapped(label, 24) for label in values.index], rotation=0
        )
        axes.set(xlabel="", ylabel="")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        figure.suptitle(f"{plot(cells['task'].iloc[0])}: accuracy by kind of question, {table.where}")
        add_footer(figure, cells)
    return figure


def _wrapped(name: str, width: int) -> str:
    return "\n".join(textwrap.wrap(plot(name), width)) or NO_DATA


def accuracy_against_memory(cells: pd.DataFrame) -> Figure:
    """A line per method through its sizes, from few to many frames, one panel per resolution."""
    points = over_models(cells)
    look = looks(list(zip(points["method"], points["method_name"], strict=True)))
    points = points[points["accuracy"].notna() & (numeric(points["above_resting_bytes"]) > 0)]
    sizes = points.drop_duplicates("resolution").sort_values("side_px")["resolution"].tolist()
    with style():
        columns = max(len(sizes), 1)
        figure = new_figure(max((PANEL_WIDTH + 0.5) * columns, 6.0), 3.9)
        grid = figure.subplots(1, columns, sharex=True, sharey=True, squeeze=False)[0]
        for axes, size in zip(grid, sizes, strict=False):
            models = cells[(cells["resolution"] == size) & (cells["outcome"] == "ok")]
            _plane(axes, points[points["resolution"] == size], models, look)
            axes.set_title(f"{size} pixels")
        grid[0].set(ylabel="Accuracy", ylim=(-0.02, 1.06), yticks=np.linspace(0, 1, 6))
        if sizes:
            _memory_axis(grid[0], points)
        else:
            grid[0].text(0.5, 0.5, "no data", transform=grid[0].transAxes, ha="center", color=FAINT)
        chance = {"chance": REFERENCES["chance"]}
        title = f"{plot(cells['task'].iloc[0])}: accuracy against peak memory; numbers are frames"
        add_header(figure, title, legend_entries(points, look, chance))
        add_footer(figure, cells)
        figure.draw_without_rendering()
        for axes, size in zip(grid, sizes, strict=False):
            place_labels(axes, _frame_labels(points[points["resolution"] == size], look))
    return figure


def _plane(axes: Axes, points: pd.DataFrame, models: pd.DataFrame, look: dict[str, Look]) -> None:
    chance = numeric(points["chance"]).mean()
    if np.isfinite(chance):
        axes.axhline(chance, **REFERENCES["chance"].line_style())
    for label in points["method"].unique():
        rows = points[points["method"] == label].sort_values("frames")
        x, y = numeric(rows["above_resting_bytes"]) / MIB, numeric(rows["accuracy"])
        mark: dict[str, Any] = {"marker": look[label].marker, "color": look[label].color}
        axes.plot(x, y, color=look[label].color, linestyle=look[label].line, linewidth=1, alpha=0.8)
        if rows["models"].max() > 1:
            single = models[models["method"] == label]
            axes.plot(
                numeric(single["above_resting_bytes"]) / MIB * 1.04,
                numeric(single["accuracy"]),
                **mark,
                linestyle="none",
                markersize=2.6,
                markeredgewidth=0,
                alpha=0.45,
            )
        hollow = rows["extrapolated"].astype(bool).to_numpy()
        for chosen, face in ((~hollow, look[label].color), (hollow, "white")):
            axes.plot(x[chosen], y[chosen], **mark, linestyle="none", markersize=5, markerfacecolor=face)
    resting = numeric(points["resting_bytes"]) / MIB
    low, high = number(resting.min()), number(resting.max())
    axes.set_xlabel(
        "Peak memory above resting (MiB, log scale)\n"
        f"resting (parameters, buffers, inputs): {low if low == high else f'{low} to {high}'} MiB"
    )


def _memory_axis(axes: Axes, points: pd.DataFrame) -> None:
    values = np.log2(numeric(points["above_resting_bytes"]) / MIB)
    low, high = int(np.floor(values.min() - 0.1)), int(np.ceil(values.max() + 0.1))
    powers = range(low, high + 1)
    step = len(powers) // 6 + 1
    log2_x(axes, [2.0**power for power in powers[::step]], [f"{2.0**power:.3g}" for power in powers[::step]])
    axes.set_xlim(2.0 ** (low - 0.1), 2.0 ** (high + 0.1))


def _frame_labels(points: pd.DataFrame, look: dict[str, Look]) -> list[tuple[float, float, str, str]]:
    return [
        (row["above_resting_bytes"] / MIB, row["accuracy"], str(row["frames"]), look[row["method"]].color)
        for row in rows_of(points)
    ]
