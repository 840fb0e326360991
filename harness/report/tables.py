"""Tables from points and kinds: numbers as text with the key to sort by. A cell without data is a dash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.document import Cell, Column, Row, Source, Table, cell
from harness.report.kinds import KindTable
from harness.report.points import at, place_name, rows_of
from harness.report.style import SHIPPED
from harness.report.text import NO_DATA, interval, known, number, share

MIB = 2**20
KIB = 2**10

NOWHERE = Source()
_LEVELS = ("chance", "oracle_blind", "oracle_last_frame")
_TIMES = ("ttft", "per_frame", "per_token")
_PLACE = (Column("method", numeric=False), Column("frames"), Column("pixels"))


def accuracy_table(points: pd.DataFrame, stem: str, source: Source = NOWHERE) -> Table:
    """Accuracy with its interval, the spread over seeds and the reference levels."""
    rows = _in_order(points)
    return Table(
        name=f"{stem}_accuracy",
        caption="Accuracy with its 95 % interval over samples, and the spread over seeds.",
        columns=(
            *_PLACE,
            *_columns("accuracy [95 %]", "seeds: min to max", "n", "chance", "blind", "last frame"),
        ),
        rows=tuple(
            (
                *_place(row),
                _accuracy(row),
                cell(_spread(row)),
                _number(row["questions"], f"{row['questions']:,.0f}"),
                *(_number(row[name], share(row[name])) for name in _LEVELS),
            )
            for row in rows
        ),
        methods=_methods(rows),
        source=source,
    )


def cost_table(points: pd.DataFrame, stem: str, source: Source = NOWHERE) -> Table:
    """Memory, latency, FLOPs and parameters."""
    smallest = points["parameters"].min()
    rows = _in_order(points)
    return Table(
        name=f"{stem}_cost",
        caption="Peak memory of the prefill, state kept between frames, times with quartiles, work and size.",
        columns=(
            *_PLACE,
            *_columns("peak MiB", "above resting MiB", "state KiB", "first token ms", "per frame ms"),
            *_columns("per token ms", "prefill MFLOPs", "parameters"),
        ),
        rows=tuple(
            (
                *_place(row),
                _outcome(row) or _scaled(row["peak_bytes"], MIB),
                _scaled(row["above_resting_bytes"], MIB),
                _scaled(row["state_bytes"], KIB),
                *(_time(row, name) for name in _TIMES),
                _scaled(row["prefill_flops"], 1e6),
                _parameters(row["parameters"], smallest),
            )
            for row in rows
        ),
        methods=_methods(rows),
        source=source,
    )


def growth_table(points: pd.DataFrame, stem: str, source: Source = NOWHERE) -> Table:
    """What one more frame costs: differences between the most and the fewest frames, per frame."""
    grown = _growths(points)
    return Table(
        name=f"{stem}_growth",
        caption="What is added from the fewest to the most frames, divided by the frames added.",
        columns=(
            Column("method", numeric=False),
            *_columns("pixels", "frames", "state bytes", "peak bytes", "prefill MFLOPs"),
        ),
        rows=tuple(
            (
                cell(growth.method),
                cell(growth.resolution, growth.side_px),
                cell(f"{growth.frames[0]} to {growth.frames[1]}", growth.frames[1]),
                _whole(growth.state_bytes),
                _whole(growth.peak_bytes),
                _scaled(growth.flops, 1e6),
            )
            for growth in grown
        ),
        methods=tuple(growth.method for growth in grown),
        source=source,
    )


def overview_table(
    points: pd.DataFrame, place: tuple[int, int, int], stem: str, source: Source = NOWHERE
) -> Table:
    """One row per method at one number of frames and one resolution."""
    growths = {(growth.method, growth.resolution): growth for growth in _growths(points)}
    smallest = points["parameters"].min()
    rows = _in_order(at(points, place))
    cells: list[Row] = []
    for row in rows:
        growth = growths.get((row["method"], row["resolution"]))
        cells.append(
            (
                cell(row["method"]),
                _accuracy(row),
                cell(str(row["models"]), row["models"]),
                _whole(growth.state_bytes) if growth else cell(NO_DATA),
                _whole(growth.peak_bytes) if growth else cell(NO_DATA),
                *(_time(row, name) for name in _TIMES),
                _parameters(row["parameters"], smallest),
            )
        )
    return Table(
        name=f"{stem}_overview",
        caption=f"Every method at {place_name(place)}.",
        columns=(
            Column("method", numeric=False),
            *_columns("accuracy [95 %]", "models", "state bytes a frame", "peak bytes a frame"),
            *_columns("first token ms", "per frame ms", "per token ms", "parameters"),
        ),
        rows=tuple(cells),
        methods=_methods(rows),
        source=source,
    )


def kinds_table(kinds: KindTable, stem: str, source: Source = NOWHERE) -> Table:
    """A row per kind: accuracy of every method with interval and spread, then the reference levels."""
    methods = list(kinds.low.index)
    references = [label for label in kinds.accuracy.index if label not in methods]
    rows: list[Row] = []
    for kind in kinds.accuracy.columns:
        row = [cell(kind), cell(str(kinds.questions[kind]), kinds.questions[kind])]
        for label in methods:
            value = kinds.accuracy.loc[label, kind]
            least, most = kinds.least.loc[label, kind], kinds.most.loc[label, kind]
            text = f"{share(value)} {interval(kinds.low.loc[label, kind], kinds.high.loc[label, kind])}"
            text += f" seeds {share(least)} to {share(most)}" if kinds.models[label] > 1 else ""
            row.append(_number(value, text))
        levels = (kinds.accuracy.loc[label, kind] for label in references)
        rows.append((*row, *(_number(level, share(level)) for level in levels)))
    if kinds.unbalanced:
        means = kinds.accuracy.mean(axis="columns", skipna=False)
        total = sum(kinds.questions.values())
        columns = (_number(means[label], share(means[label])) for label in (*methods, *references))
        rows.append((cell("every kind counted the same"), cell(f"{total:,}", total), *columns))
    return Table(
        name=f"{stem}_kinds",
        caption=f"Accuracy by kind of question at {kinds.where}.",
        columns=(Column("kind", numeric=False), *_columns("n", *methods, *references)),
        rows=tuple(rows),
        source=source,
    )


def comparison_table(comparisons: Sequence[Comparison], stem: str, source: Source = NOWHERE) -> Table:
    """Every pair with its paired difference and what may be said of it."""
    return Table(
        name=f"{stem}_pairs",
        caption="Paired differences on the same questions; claimed where seeds and questions bear the order.",
        columns=(
            Column("more accurate", numeric=False),
            Column("less accurate", numeric=False),
            *_columns("difference [95 %]", "p (Holm)", "n", "models"),
            Column("seeds apart", numeric=False),
            Column("claimed", numeric=False),
        ),
        rows=tuple(
            (
                cell(one.better),
                cell(one.worse),
                cell(
                    f"{one.difference.mean:+.3f} [{one.difference.low:+.3f}, {one.difference.high:+.3f}]",
                    one.difference.mean,
                ),
                cell(f"{one.adjusted_p:.4f}", one.adjusted_p),
                cell(f"{one.questions:,}", one.questions),
                cell(f"{one.models[0]} and {one.models[1]}", min(one.models)),
                cell("yes" if one.seeds_apart else "no"),
                cell("yes" if one.borne else "no"),
            )
            for one in comparisons
        ),
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Growth:
    """What one more frame adds, between two numbers of frames."""

    method: str
    resolution: str
    side_px: float
    frames: tuple[int, int]
    state_bytes: float
    peak_bytes: float
    flops: float


def _growths(points: pd.DataFrame) -> list[_Growth]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _in_order(points):
        if row["models"]:
            groups.setdefault((row["method"], row["resolution"]), []).append(row)
    grown = []
    for (method, resolution), rows in groups.items():
        few, many = (pick(rows, key=lambda row: row["frames"]) for pick in (min, max))
        added = many["frames"] - few["frames"]
        if added:
            per_frame = [
                (many[column] - few[column]) / added
                for column in ("state_bytes", "above_resting_bytes", "prefill_flops")
            ]
            grown.append(
                _Growth(method, resolution, few["side_px"], (few["frames"], many["frames"]), *per_frame)
            )
    return grown


def _in_order(points: pd.DataFrame) -> list[dict[str, Any]]:
    rank = {name: index for index, name in enumerate(SHIPPED)}
    return sorted(
        rows_of(points),
        key=lambda row: (
            rank.get(row["method_name"], len(SHIPPED)),
            row["method"],
            row["height"] * row["width"],
            row["height"],
            row["frames"],
        ),
    )


def _methods(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(row["method"] for row in rows)


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title) for title in titles)


def _number(value: float | None, text: str) -> Cell:
    return Cell(text, float(value)) if value is not None and known(value) else Cell(NO_DATA)


def _whole(value: float) -> Cell:
    return _number(value, f"{value:,.0f}")


def _place(row: dict[str, Any]) -> Row:
    mark = " (extrapolated)" if row["extrapolated"] else ""
    return (
        cell(row["method"]),
        cell(f"{row['frames']}{mark}", row["frames"]),
        cell(row["resolution"], row["side_px"]),
    )


def _accuracy(row: dict[str, Any]) -> Cell:
    text = f"{share(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}"
    return _outcome(row) or _number(row["accuracy"], text)


def _outcome(row: dict[str, Any]) -> Cell | None:
    """What stands in place of a measure; None where at least one model has been measured."""
    if row["models"]:
        return None
    return cell("failed: " + row["failures"].replace("_", " ") if row["failed"] else "skipped")


def _spread(row: dict[str, Any]) -> str:
    if row["models"] < 2 or not known(row["accuracy_min"]):
        return NO_DATA
    return f"{share(row['accuracy_min'])} to {share(row['accuracy_max'])}"


def _scaled(value: float, unit: float) -> Cell:
    return _number(value / unit, number(value / unit)) if known(value) else Cell(NO_DATA)


def _time(row: dict[str, Any], name: str) -> Cell:
    middle, low, high = row[f"{name}_ms"], row[f"{name}_q25_ms"], row[f"{name}_q75_ms"]
    return _number(middle, f"{number(middle)} [{number(low)}, {number(high)}]")


def _parameters(count: float, smallest: float) -> Cell:
    return _number(count, f"{count:,.0f} ({100 * (count / smallest - 1):+.1f} %)")
