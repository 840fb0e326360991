"""Accuracy against what it costs, with the points that nothing beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd

from harness.report.plots import hover
from harness.report.plots.axes import log2_axis, share_axis
from harness.report.plots.curves import by_method
from harness.report.plots.model import Axis, Lines, Plot, Series
from harness.report.plots.notes import notes
from harness.report.plots.pareto import front
from harness.report.points import over_models, rows_of
from harness.report.style import REFERENCES
from harness.report.text import known, number, numbered

MIB = 2**20
MOST_COLUMNS = 4
FRONT = "Pareto front"

Cost = Literal["memory", "latency"]
_COSTS = {
    "memory": ("above_resting_bytes", 1 / MIB, "MiB", "Peak memory above resting (MiB, log scale)"),
    "latency": ("ttft_ms", 1.0, "ms", "Time to first token of single cells (ms, log scale)"),
}
_WORDS = {"memory": "peak memory", "latency": "time to first token of single cells"}


def tradeoff(cells: pd.DataFrame, cost: Cost) -> Plot:
    """A line per method through its sizes, from few to many frames, one panel per resolution.

    The front of a panel is over all of its methods and sizes; the first and the last point of a line, and
    those on the front, are labelled with their frames, where the panel has more than one number of them.
    Times of cells come from processes of their own, which no front may be drawn between.
    """
    column, factor, unit, title = _COSTS[cost]
    points = [
        row
        for row in rows_of(over_models(cells))
        if known(row["accuracy"]) and known(row[column]) and row[column] > 0
    ]
    sizes = dict.fromkeys(row["resolution"] for row in sorted(points, key=lambda row: row["side_px"]))
    models = rows_of(cells[cells["outcome"] == "ok"])
    values = [row[column] * factor for row in points] or [1.0]
    panels = []
    for size in sizes:
        here = [row for row in points if row["resolution"] == size]
        single = [row for row in models if row["resolution"] == size and known(row["accuracy"])]
        x = log2_axis(title + (_resting(here) if cost == "memory" else ""), unit, values)
        series = (*levels(here, x), *_lines(here, cost), *_singles(here, single, column, factor))
        panels.append(Lines(title=_title(here), x=x, y=share_axis("Accuracy"), series=series))
    if not panels:
        panels = [Lines(title="", x=log2_axis(title, unit, values), y=share_axis("Accuracy"), series=())]
    return Plot(
        title=f"{cells['task'].iloc[0]}: accuracy against {_WORDS[cost]}",
        panels=tuple(panels),
        columns=min(len(panels), MOST_COLUMNS),
        notes=notes(cells),
    )


def _title(here: Sequence[dict[str, Any]]) -> str:
    """The resolution, and the number of frames where all points have the same."""
    frames = {row["frames"] for row in here}
    same = f", {numbered(min(frames), 'frame')}" if len(frames) == 1 else ""
    return f"{here[0]['resolution']} pixels{same}"


def _resting(points: Sequence[dict[str, Any]]) -> str:
    values = [row["resting_bytes"] / MIB for row in points if known(row["resting_bytes"])]
    if not values:
        return ""
    low, high = number(min(values)), number(max(values))
    return f"\nresting (parameters, buffers, inputs): {low if low == high else f'{low} to {high}'} MiB"


def levels(points: Sequence[dict[str, Any]], axis: Axis) -> Iterator[Series]:
    """Chance over the panel's points, where it is known."""
    found = [row["chance"] for row in points if known(row["chance"])]
    if found:
        level = sum(found) / len(found)
        label = REFERENCES["chance"].label
        hovers = (f"{label}\naccuracy {level:.3f}",) * 2
        yield Series(name=label, role="level", x=(axis.low, axis.high), y=(level, level), hover=hovers)


def _lines(points: Sequence[dict[str, Any]], cost: Cost) -> Iterator[Series]:
    column, factor, _, _ = _COSTS[cost]
    costs, values = [row[column] * factor for row in points], [row["accuracy"] for row in points]
    best = front(costs, values) if cost == "memory" else []
    several = len({row["frames"] for row in points}) > 1
    on_front = {id(points[index]) for index in best}
    if best:
        yield Series(
            name=FRONT,
            role="front",
            x=tuple(costs[index] for index in best),
            y=tuple(values[index] for index in best),
        )
    for label, mine in by_method(points):
        rows = sorted(mine, key=lambda row: row["frames"])
        ends = {id(rows[0]), id(rows[-1])}
        yield Series(
            name=label,
            role="measured",
            method=label,
            x=tuple(row[column] * factor for row in rows),
            y=tuple(row["accuracy"] for row in rows),
            hollow=tuple(bool(row["extrapolated"]) for row in rows),
            hover=tuple(hover.point(row, "accuracy", column, front=id(row) in on_front) for row in rows),
            labels=tuple(str(row["frames"]) if id(row) in ends | on_front else "" for row in rows)
            if several
            else (),
        )


def _singles(
    points: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]], column: str, factor: float
) -> Iterator[Series]:
    several = {row["method"] for row in points if row["models"] > 1}
    for label, mine in by_method([row for row in models if row["method"] in several]):
        rows = [row for row in mine if known(row[column]) and row[column] > 0]
        if rows:
            yield Series(
                name=label,
                role="single",
                method=label,
                x=tuple(row[column] * factor for row in rows),
                y=tuple(row["accuracy"] for row in rows),
                hover=tuple(hover.single(row, "accuracy") for row in rows),
            )
