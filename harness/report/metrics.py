"""A task's own metrics over all answers, as the task names and scales them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from harness.report.document import Cell, Column, Source, Table, cell
from harness.report.labels import resolution_label
from harness.report.points import rows_of
from harness.report.style import ordered
from harness.report.text import NO_DATA, known, number


def metrics_table(cells: pd.DataFrame, stem: str, source: Source) -> Table | None:
    """The task's own metrics over all answers; None for a task that has none."""
    found: dict[tuple[str, str, int, int, int], list[float | None]] = {}
    names: dict[str, str] = {}
    ok = cells[(cells["outcome"] == "ok") & cells["aggregates"].notna()]
    for row in rows_of(ok):
        names[row["method"]] = row["method_name"]
        for metric, value in json.loads(row["aggregates"]).items():
            place = (metric, row["method"], row["frames"], row["height"], row["width"])
            found.setdefault(place, []).append(value)
    if not found:
        return None
    rank = {label: index for index, label in enumerate(ordered(list(names.items())))}
    places = sorted(found, key=lambda one: (one[0], rank[one[1]], one[3] * one[4], one[3], one[2]))
    return Table(
        name=f"{stem}_metrics",
        caption="The task's own metrics over all answers of a model, on the task's own scale: their mean "
        "over models, and the spread over seeds.",
        columns=(
            Column("metric", numeric=False),
            Column("method", numeric=False),
            *(Column(title) for title in ("frames", "pixels", "value", "seeds: min to max", "models")),
        ),
        rows=tuple(
            (
                cell(metric),
                cell(method),
                cell(str(frames), frames),
                cell(resolution_label(height, width), (height * width) ** 0.5),
                *_metric(found[metric, method, frames, height, width]),
            )
            for metric, method, frames, height, width in places
        ),
        methods=tuple(method for _, method, *_ in places),
        source=source,
    )


def _metric(values: Sequence[float | None]) -> tuple[Cell, Cell, Cell]:
    """Mean, spread and number of models that have one."""
    there = [value for value in values if value is not None and known(value)]
    if not there:
        return cell(NO_DATA), cell(NO_DATA), cell("0", 0)
    mean = sum(there) / len(there)
    spread = f"{number(min(there), 4)} to {number(max(there), 4)}" if len(there) > 1 else NO_DATA
    return cell(number(mean, 4), mean), cell(spread), cell(str(len(there)), len(there))
