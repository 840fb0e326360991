"""Tables from points and kinds: numbers as text with the key to sort by. A cell without data is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.published_models import METHOD
from harness.report.comparisons import Comparison
from harness.report.document import Cell, Column, Row, Source, Table, cell
from harness.report.kinds import KindTable
from harness.report.points import TIME_PHASES, at, place_name, ran_out, rows_of
from harness.report.style import SHIPPED
from harness.report.text import NO_DATA, interval, known, number, share
from harness.report.timed import TimedSize
from harness.timing.records import PHASES, Phase

MIB = 2**20
KIB = 2**10

NOWHERE = Source()
_LEVELS = ("chance", "oracle_blind", "oracle_last_frame")
_TIMED: tuple[tuple[Phase, str], ...] = tuple(zip(PHASES, TIME_PHASES, strict=True))
_CELL_TIMES = ("first token ms", "per frame ms", "per token ms")
TIMES_OF_CELLS = (
    "medians with quartiles of single cells, each timed in a process of its own, so differences between "
    "methods may be chance."
)
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
    smallest = _smallest(points)
    rows = _in_order(points)
    return Table(
        name=f"{stem}_cost",
        caption="Peak memory of the prefill, state kept between frames, times, work and size. Times: "
        + TIMES_OF_CELLS,
        columns=(
            *_PLACE,
            *_columns("peak MiB", "above resting MiB", "state KiB", *_CELL_TIMES),
            *_columns("prefill MFLOPs", "parameters"),
        ),
        rows=tuple(
            (
                *_place(row),
                _outcome(row) or _unfit(row, "memory") or _scaled(row["peak_bytes"], MIB),
                _scaled(row["above_resting_bytes"], MIB),
                _scaled(row["state_bytes"], KIB),
                *(_unfit(row, *phases) or _time(row, name) for name, phases in TIME_PHASES.items()),
                _unfit(row, "flops") or _scaled(row["prefill_flops"], 1e6),
                _parameters(row["parameters"], smallest),
            )
            for row in rows
        ),
        methods=_methods(rows),
        source=source,
    )


def growth_table(points: pd.DataFrame, stem: str, source: Source = NOWHERE) -> Table:
    """Memory at the fewest and the most frames, and what one more frame adds between them."""
    grown = growths(points)
    return Table(
        name=f"{stem}_growth",
        caption="Peak memory above resting at the fewest and the most frames; then what is added between "
        "them, divided by the frames added.",
        columns=(
            Column("method", numeric=False),
            *_columns("pixels", "frames", "above resting MiB", "times"),
            *_columns("state bytes a frame", "peak bytes a frame", "prefill MFLOPs a frame"),
        ),
        rows=tuple(
            (
                cell(growth.method),
                cell(growth.resolution, growth.side_px),
                cell(f"{growth.frames[0]} to {growth.frames[1]}", growth.frames[1]),
                cell(
                    " to ".join(number(amount / MIB) for amount in growth.above_resting),
                    growth.above_resting[1] / MIB,
                ),
                _number(growth.factor, number(growth.factor, 2)),
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
    points: pd.DataFrame,
    place: tuple[int, int, int],
    stem: str,
    source: Source = NOWHERE,
    timed: TimedSize | None = None,
) -> Table:
    """One row per method at one number of frames and one resolution.

    Times are ratios where methods were ``timed`` in turns, else those of single cells.
    """
    by_method = {(growth.method, growth.resolution): growth for growth in growths(points)}
    smallest = _smallest(points)
    rows = _in_order(at(points, place))
    cells: list[Row] = []
    for row in rows:
        growth = by_method.get((row["method"], row["resolution"]))
        cells.append(
            (
                cell(row["method"]),
                _accuracy(row),
                cell(_spread(row)),
                cell(str(row["models"]), row["models"]),
                _whole(growth.state_bytes) if growth else cell(NO_DATA),
                _whole(growth.peak_bytes) if growth else cell(NO_DATA),
                *(
                    _ratio(timed, phase, row["method"])
                    if timed
                    else _unfit(row, *TIME_PHASES[name]) or _time(row, name)
                    for phase, name in _TIMED
                ),
                _parameters(row["parameters"], smallest),
            )
        )
    titles = ("prefill", "per frame", "per token") if timed else _CELL_TIMES
    how = (
        f"Times are divided by {timed.base}'s [95 %], timed in turns."
        if timed
        else f"Times: {TIMES_OF_CELLS}"
    )
    return Table(
        name=f"{stem}_overview",
        caption=f"Every method at {place_name(place)}. {how}",
        columns=(
            Column("method", numeric=False),
            *_columns("accuracy [95 %]", "seeds: min to max", "models"),
            *_columns("state bytes a frame", "peak bytes a frame"),
            *_columns(*titles, "parameters"),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What frames cost one method at one resolution, between the fewest and the most of them.

    ``above_resting`` are the peaks above resting at both ends, in bytes; the rest is what one more frame
    adds.
    """

    method: str
    resolution: str
    side_px: float
    frames: tuple[int, int]
    above_resting: tuple[float, float]
    state_bytes: float
    peak_bytes: float
    flops: float

    @property
    def factor(self) -> float:
        """How many times as much is above resting at the end; NaN where nothing was at the beginning."""
        first, last = self.above_resting
        return last / first if first else math.nan


def growths(points: pd.DataFrame) -> list[Growth]:
    """One per method and resolution with more than one number of frames, in the order of tables."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _in_order(points):
        if row["models"] and not ran_out(row, "memory"):
            groups.setdefault((row["method"], row["resolution"]), []).append(row)
    grown = []
    for (method, resolution), rows in groups.items():
        few, many = (pick(rows, key=lambda row: row["frames"]) for pick in (min, max))
        added = many["frames"] - few["frames"]
        if added:
            state, peak, flops = (
                (many[column] - few[column]) / added
                for column in ("state_bytes", "above_resting_bytes", "prefill_flops")
            )
            grown.append(
                Growth(
                    method=method,
                    resolution=resolution,
                    side_px=few["side_px"],
                    frames=(few["frames"], many["frames"]),
                    above_resting=(few["above_resting_bytes"], many["above_resting_bytes"]),
                    state_bytes=state,
                    peak_bytes=peak,
                    flops=flops,
                )
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


def _unfit(row: dict[str, Any], *phases: str) -> Cell | None:
    """What stands in place of a measure whose phase did not fit."""
    return cell("out of memory") if ran_out(row, *phases) else None


def _spread(row: dict[str, Any]) -> str:
    if row["models"] < 2 or not known(row["accuracy_min"]):
        return NO_DATA
    return f"{share(row['accuracy_min'])} to {share(row['accuracy_max'])}"


def _scaled(value: float, unit: float) -> Cell:
    return _number(value / unit, number(value / unit)) if known(value) else Cell(NO_DATA)


def _time(row: dict[str, Any], name: str) -> Cell:
    middle, low, high = row[f"{name}_ms"], row[f"{name}_q25_ms"], row[f"{name}_q75_ms"]
    return _number(middle, f"{number(middle)} [{number(low)}, {number(high)}]")


def _ratio(timed: TimedSize, phase: Phase, label: str) -> Cell:
    if label not in timed.times:
        return cell(NO_DATA)
    found = timed.ratio(phase, label, timed.base)
    return ratio_cell(found.ratio, found.low, found.high) if label != timed.base else cell("1", 1.0)


def ratio_cell(ratio: float, low: float, high: float) -> Cell:
    """A ratio with its interval, where it has one."""
    spread = f" [{number(low)}, {number(high)}]" if known(low) and known(high) else ""
    return cell(f"{number(ratio)}{spread}", ratio)


def _smallest(points: pd.DataFrame) -> float | None:
    """What parameters are compared with: the fewest of the fused models, None among published ones."""
    return None if (points["method_name"] == METHOD).any() else float(points["parameters"].min())


def _parameters(count: float, smallest: float | None) -> Cell:
    more = "" if smallest is None else f" ({100 * (count / smallest - 1):+.1f} %)"
    return _number(count, f"{count:,.0f}{more}")
