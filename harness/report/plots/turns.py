"""Accuracy against times that were measured in turns, each divided by that of one method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from harness.report.plots import hover
from harness.report.plots.axes import log2_axis, share_axis
from harness.report.plots.curves import by_method
from harness.report.plots.model import Lines, Plot, Series
from harness.report.plots.notes import notes
from harness.report.plots.pareto import unbeaten
from harness.report.plots.tradeoff import levels
from harness.report.points import at, over_models, place_name, rows_of
from harness.report.text import known, numbered
from harness.report.timed import TimedSize

UNBEATEN = "on the Pareto front, as far as intervals tell"
MOST_COLUMNS = 3

Point = dict[str, Any]


def in_turns(cells: pd.DataFrame, sizes: Sequence[TimedSize]) -> Plot:
    """A panel per size, a point per method: its prefill divided by the base method's, and its accuracy.

    Sizes stay apart, since each was timed in a process of its own. Bars are 95 % intervals: of the ratio over
    rounds, of the accuracy over samples. Rings are around the methods that no other one beats: with a prefill
    no longer and an accuracy no lower, and one of the two told apart.
    """
    points = over_models(cells)
    shown = [(size, _points(points, size)) for size in sizes]
    shown = [(size, here) for size, here in shown if here]
    bounds = [value for _, here in shown for row in here for value in row["bounds"] if known(value)]
    panels = []
    for size, here in shown:
        x = log2_axis(f"Prefill time / {size.base}'s (log scale)", "", bounds)
        series = (*levels(here, x), *_series(size, here))
        panels.append(Lines(title=place_name(size.place), x=x, y=share_axis("Accuracy"), series=series))
    rounds = numbered(max(size.record.rounds for size, _ in shown), "round")
    threads = numbered(max(size.record.key.threads for size, _ in shown), "thread")
    return Plot(
        title=f"{cells['task'].iloc[0]}: accuracy against prefill time, timed in turns",
        panels=tuple(panels),
        columns=min(len(panels), MOST_COLUMNS),
        notes=(*notes(cells), f"times: {rounds} in one process a size, {threads}, without vision encoding"),
    )


def _points(points: pd.DataFrame, size: TimedSize) -> list[Point]:
    """The methods that have an accuracy and a time at this size."""
    found = []
    for row in rows_of(at(points, size.place)):
        if known(row["accuracy"]) and row["method"] in size.times:
            ratio = size.ratio("prefill", row["method"], size.base)
            found.append(row | {"ratio": ratio.ratio, "bounds": (ratio.low, ratio.high, ratio.ratio)})
    return found


def _series(size: TimedSize, here: Sequence[Point]) -> Iterator[Series]:
    costs, values = [row["ratio"] for row in here], [row["accuracy"] for row in here]

    def told(better: int, worse: int) -> bool:
        one, other = here[better], here[worse]
        return size.faster("prefill", one["method"], other["method"]) or _more_accurate(one, other)

    best = unbeaten(costs, values, told)
    yield Series(
        name=UNBEATEN,
        role="unbeaten",
        x=tuple(costs[index] for index in best),
        y=tuple(values[index] for index in best),
    )
    on_front = {here[index]["method"] for index in best}
    for label, (row,) in by_method(here):
        low, high, ratio = row["bounds"]
        alone = size.base == label or not known(low)
        yield Series(
            name=label,
            role="measured",
            method=label,
            x=(ratio,),
            y=(row["accuracy"],),
            low=(row["accuracy_low"],),
            high=(row["accuracy_high"],),
            x_low=() if alone else (low,),
            x_high=() if alone else (high,),
            hollow=(bool(row["extrapolated"]),),
            hover=(hover.turns(row, size, front=label in on_front),),
        )


def _more_accurate(one: Point, other: Point) -> bool:
    """Whether every seed of the one is above every seed of the other, and the intervals over samples too."""
    several = min(one["models"], other["models"]) > 1
    return bool(
        several
        and one["accuracy_min"] > other["accuracy_max"]
        and one["accuracy_low"] > other["accuracy_high"]
    )
