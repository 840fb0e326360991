"""Accuracy and cost against frames or against resolution: small multiples, one line per method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.counting.records import CountRecord
from harness.report.plots import hover
from harness.report.plots.axes import beside, cost_axis, frames_axis, resolution_axis, share_axis
from harness.report.plots.matching import counted_points, timed_points
from harness.report.plots.model import Axis, Failure, Lines, Plot, Series
from harness.report.plots.notes import notes, timed_notes
from harness.report.points import TIME_PHASES, Over, over_models, ran_out, rows_of
from harness.report.style import FAILURES, REFERENCES, ordered
from harness.report.text import known, numbered
from harness.report.timed import TimedSize
from harness.timing.records import Phase

MOST_FACETS = 4

Point = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of panels: the column, its band and the factor from the column's unit to the label's."""

    column: str
    label: str
    unit: str = ""
    low: str | None = None
    high: str | None = None
    factor: float = 1.0
    share: bool = False
    phases: tuple[str, ...] = ()
    """What is measured for it, beside the answers."""


def _time(name: str, label: str) -> Metric:
    return Metric(
        column=f"{name}_ms",
        label=label,
        unit="ms",
        low=f"{name}_q25_ms",
        high=f"{name}_q75_ms",
        phases=TIME_PHASES[name],
    )


MEMORY = Metric(
    column="above_resting_bytes",
    label="Peak memory\nabove resting (MiB)",
    unit="MiB",
    factor=2**-20,
    phases=("memory",),
)
METRICS = (
    Metric(column="accuracy", label="Accuracy", low="accuracy_low", high="accuracy_high", share=True),
    MEMORY,
    _time("ttft", "Time to\nfirst token (ms)"),
    _time("per_frame", "Time per\nappended frame (ms)"),
    _time("per_token", "Time per\ndecoded token (ms)"),
)


def _in_turns(phase: Phase, label: str) -> Metric:
    column = f"turns_{phase}"
    return Metric(
        column=f"{column}_ms",
        label=f"{label} (ms),\ntimed in turns",
        unit="ms",
        low=f"{column}_q25_ms",
        high=f"{column}_q75_ms",
    )


IN_TURNS = {
    "ttft_ms": _in_turns("prefill", "Prefill"),
    "per_frame_ms": _in_turns("per_frame", "Appended frame"),
    "per_token_ms": _in_turns("per_token", "Decoded token"),
}
"""What is shown in the place of a time of single cells; there is no vision encoding in any of them."""


def curves(
    cells: pd.DataFrame,
    over: Over,
    counted: Sequence[CountRecord] = (),
    defaults: Mapping[str, Mapping[str, object]] | None = None,
    timed: Mapping[object, Sequence[TimedSize]] | None = None,
) -> Plot:
    """The metrics of one setting against ``over``, with a column of panels per value of the other axis.

    Lines are means (accuracy) or medians (cost) over models; bands are 95 % intervals over samples (accuracy)
    or quartiles of the raw times (latency); dots are single models. Peaks that ``counted`` holds for the same
    method, backbone, dtype and size are lines of their own. Columns that ``timed`` has a curve for show its
    times in turns, and none of single cells.
    """
    points = rows_of(over_models(cells))
    singles = rows_of(cells[cells["outcome"] == "ok"])
    facets = shown_facets(points, over)
    timed = {facet: timed[facet] for facet in facets if facet in timed} if timed else {}
    turns = {facet: timed_points(sizes, points) for facet, sizes in timed.items()}
    estimates = counted_points(counted, cells, defaults or {})
    panels: list[Lines] = []
    x = _x_axis(points, over)
    for metric in METRICS:
        instead = IN_TURNS.get(metric.column)
        alone = points if instead is None else [row for row in points if row[_other(over)] not in turns]
        y = _y_axis(metric, alone, estimates if metric is MEMORY else [])
        for facet in facets:
            title = _facet_name(over, facet) if len(facets) > 1 else ""
            if instead is not None and facet in turns:
                panels.append(_timed_panel(instead, title, facet, turns, over))
                continue
            here = [row for row in points if row[_other(over)] == facet]
            lines = [*_levels(here, over, x)] if metric.share else []
            lines += _lines(metric, here, over)
            if metric is MEMORY:
                lines += _counted([row for row in estimates if row[_other(over)] == facet], over)
            if metric.share:
                lines += _singles(metric, here, [row for row in singles if row[_other(over)] == facet], over)
            panels.append(
                Lines(
                    title=title,
                    x=x,
                    y=y,
                    series=tuple(lines),
                    failures=tuple(_failures(metric, here, over)),
                )
            )
    task = cells["task"].iloc[0]
    single = f", {_facet_name(over, facets[0])}" if len(facets) == 1 else ""
    return Plot(
        title=f"{task} against {over}{single}",
        panels=tuple(panels),
        columns=len(facets) if len(facets) > 1 else 2,
        notes=(*notes(cells), *timed_notes(cells, [one for sizes in timed.values() for one in sizes])),
    )


def _timed_panel(
    metric: Metric, title: str, facet: object, turns: Mapping[object, Sequence[Point]], over: Over
) -> Lines:
    """Times in turns; its axes hold all columns' times, and may have sizes that no cell has."""
    every = [row for rows in turns.values() for row in rows]
    return Lines(
        title=title,
        x=_x_axis(every, over),
        y=_y_axis(metric, every, []),
        series=tuple(_lines(metric, turns[facet], over)),
        failures=tuple(_failures(metric, turns[facet], over)),
    )


def _other(over: Over) -> str:
    return "resolution" if over == "frames" else "frames"


def _at(over: Over) -> str:
    return "frames" if over == "frames" else "side_px"


def shown_facets(points: Sequence[Point], over: Over) -> list[object]:
    """Values of the other axis in order that have a curve; evenly spaced ones where there are too many.

    A value with a single size is no curve, and left out unless there is nothing else.
    """
    by = "side_px" if over == "frames" else "frames"
    sizes: dict[object, set[float]] = {}
    for row in sorted(points, key=lambda row: row[by]):
        sizes.setdefault(row[_other(over)], set()).add(row[_at(over)])
    values = [value for value, there in sizes.items() if len(there) > 1] or list(sizes)
    if len(values) <= MOST_FACETS:
        return values
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, MOST_FACETS)]


def _facet_name(over: Over, facet: object) -> str:
    return f"{facet} pixels" if over == "frames" else numbered(int(str(facet)), "frame")


def by_method(points: Sequence[Point]) -> Iterator[tuple[str, list[Point]]]:
    """The points of every method, methods in the order of legends."""
    groups: dict[str, list[Point]] = {}
    for row in points:
        groups.setdefault(row["method"], []).append(row)
    for label in ordered([(row["method"], row["method_name"]) for row in points]):
        yield label, groups[label]


def _lines(metric: Metric, points: Sequence[Point], over: Over) -> Iterator[Series]:
    for label, mine in by_method(points):
        rows = sorted((row for row in mine if known(row[metric.column])), key=lambda row: row[_at(over)])
        if rows:
            yield Series(
                name=label,
                role="measured",
                method=label,
                x=tuple(float(row[_at(over)]) for row in rows),
                y=tuple(row[metric.column] * metric.factor for row in rows),
                low=_bound(rows, metric.low, metric.factor),
                high=_bound(rows, metric.high, metric.factor),
                hollow=tuple(bool(row["extrapolated"]) for row in rows),
                hover=tuple(hover.point(row, metric.column) for row in rows),
            )


def _bound(rows: Sequence[Point], column: str | None, factor: float) -> tuple[float | None, ...]:
    if column is None:
        return ()
    return tuple(row[column] * factor if known(row[column]) else None for row in rows)


def _singles(
    metric: Metric, points: Sequence[Point], models: Sequence[Point], over: Over
) -> Iterator[Series]:
    """The models of methods that have several, a little to the right of their mean."""
    several = {row["method"] for row in points if row["models"] > 1}
    for label, mine in by_method([row for row in models if row["method"] in several]):
        rows = [row for row in mine if known(row[metric.column])]
        if rows:
            moved = beside([row[_at(over)] for row in points if row["method"] == label])
            yield Series(
                name=label,
                role="single",
                method=label,
                x=tuple(float(row[_at(over)]) * moved for row in rows),
                y=tuple(row[metric.column] * metric.factor for row in rows),
                hover=tuple(hover.single(row, metric.column) for row in rows),
            )


def _counted(points: Sequence[Point], over: Over) -> Iterator[Series]:
    for label, mine in by_method(points):
        rows = sorted(mine, key=lambda row: row[_at(over)])
        yield Series(
            name=f"{label}, counted",
            role="counted",
            method=label,
            x=tuple(float(row[_at(over)]) for row in rows),
            y=tuple(row["above_resting_bytes"] * MEMORY.factor for row in rows),
            hover=tuple(hover.counted(row) for row in rows),
        )


def _levels(points: Sequence[Point], over: Over, axis: Axis) -> Iterator[Series]:
    """Chance and the oracles; they move with the kinds that can be asked."""
    for column, reference in REFERENCES.items():
        at: dict[float, list[float]] = {}
        for row in points:
            if known(row[column]):
                at.setdefault(float(row[_at(over)]), []).append(row[column])
        levels = {x: sum(values) / len(values) for x, values in sorted(at.items())}
        if len(levels) == 1:
            (level,) = levels.values()
            levels = {axis.low: level, axis.high: level}
        if levels:
            yield Series(
                name=reference.label,
                role="level",
                x=tuple(levels),
                y=tuple(levels.values()),
                hover=tuple(f"{reference.label}\naccuracy {level:.3f}" for level in levels.values()),
            )


def _fails(metric: Metric, row: Point) -> bool:
    """Whether a model failed there, or ran out of memory where it measured this."""
    return row["failed"] > 0 or ran_out(row, *metric.phases)


def _failures(metric: Metric, points: Sequence[Point], over: Over) -> Iterator[Failure]:
    failed = [row for row in points if _fails(metric, row)]
    for rank, (label, mine) in enumerate(by_method(failed)):
        for row in sorted(mine, key=lambda row: row[_at(over)]):
            yield Failure(
                method=label,
                x=float(row[_at(over)]),
                text="/".join(FAILURES.get(kind, kind) for kind in _kinds(row)),
                hover=hover.failure(row),
                row=rank,
            )


def _kinds(row: Point) -> list[str]:
    return row["failures"].split(", ") if row["failed"] else ["out_of_memory"]


def _x_axis(points: Sequence[Point], over: Over) -> Axis:
    return frames_axis(row["frames"] for row in points) if over == "frames" else resolution_axis(points)


def _y_axis(metric: Metric, points: Sequence[Point], estimates: Sequence[Point]) -> Axis:
    failing = len({row["method"] for row in points if _fails(metric, row)})
    if metric.share:
        return share_axis(metric.label, failing)
    columns = [name for name in (metric.column, metric.low, metric.high) if name]
    values = [row[name] * metric.factor for row in points for name in columns if known(row[name])]
    values += [row[metric.column] * metric.factor for row in estimates]
    return cost_axis(metric.label, metric.unit, values, failing)
