"""Markdown tables from points and kinds. A cell without data is a dash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.kinds import KindTable
from harness.report.points import at, rows_of
from harness.report.style import SHIPPED
from harness.report.text import NO_DATA, interval, known, markdown, number, share

MIB = 2**20
KIB = 2**10


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are aligned left, the others right."""
    rule = ["---" if index < left else "---:" for index in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def accuracy_table(points: pd.DataFrame) -> str:
    """Accuracy with its interval, the spread over seeds and the reference levels."""
    header = [
        "method",
        "frames",
        "pixels",
        "accuracy [95 %]",
        "seeds: min to max",
        "n",
        "chance",
        "blind",
        "last frame",
    ]
    rows = [
        [
            *_place(row),
            _outcome(row)
            or f"{share(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}",
            _spread(row),
            f"{row['questions']:,.0f}" if known(row["questions"]) else NO_DATA,
            share(row["chance"]),
            share(row["oracle_blind"]),
            share(row["oracle_last_frame"]),
        ]
        for row in _in_order(points)
    ]
    return table(header, rows)


def cost_table(points: pd.DataFrame) -> str:
    """Memory, latency, FLOPs and parameters."""
    header = [
        "method",
        "frames",
        "pixels",
        "peak MiB",
        "above resting MiB",
        "state KiB",
        "first token ms",
        "per frame ms",
        "per token ms",
        "prefill MFLOPs",
        "parameters",
    ]
    smallest = points["parameters"].min()
    rows = [
        [
            *_place(row),
            _outcome(row) or number(_scaled(row["peak_bytes"], MIB)),
            number(_scaled(row["above_resting_bytes"], MIB)),
            number(_scaled(row["state_bytes"], KIB)),
            _time(row, "ttft"),
            _time(row, "per_frame"),
            _time(row, "per_token"),
            number(_scaled(row["prefill_flops"], 1e6)),
            _parameters(row["parameters"], smallest),
        ]
        for row in _in_order(points)
    ]
    return table(header, rows)


def growth_table(points: pd.DataFrame) -> str:
    """What one more frame costs: differences between the most and the fewest frames, per frame."""
    header = ["method", "pixels", "frames", "state bytes", "peak bytes", "prefill MFLOPs"]
    rows = [
        [
            markdown(growth.method),
            growth.resolution,
            f"{growth.frames[0]} to {growth.frames[1]}",
            _whole(growth.state_bytes),
            _whole(growth.peak_bytes),
            number(_scaled(growth.flops, 1e6)),
        ]
        for growth in _growths(points)
    ]
    return table(header, rows)


def overview_table(points: pd.DataFrame, place: tuple[int, int, int]) -> str:
    """One row per method at one number of frames and one resolution."""
    header = ["method", "accuracy [95 %]", "models", "state bytes a frame", "peak bytes a frame"]
    header += ["first token ms", "per frame ms", "per token ms", "parameters"]
    here = _in_order(at(points, place))
    growths = {(growth.method, growth.resolution): growth for growth in _growths(points)}
    smallest = points["parameters"].min()
    rows = []
    for row in here:
        growth = growths.get((row["method"], row["resolution"]))
        rows.append(
            [
                markdown(row["method"]),
                _outcome(row)
                or f"{share(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}",
                str(row["models"]),
                _whole(growth.state_bytes) if growth else NO_DATA,
                _whole(growth.peak_bytes) if growth else NO_DATA,
                *(_time(row, name) for name in ("ttft", "per_frame", "per_token")),
                _parameters(row["parameters"], smallest),
            ]
        )
    return table(header, rows)


@dataclass(frozen=True, slots=True)
class _Growth:
    """What one more frame adds, between two numbers of frames."""

    method: str
    resolution: str
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
            grown.append(_Growth(method, resolution, (few["frames"], many["frames"]), *per_frame))
    return grown


def kinds_table(kinds: KindTable) -> str:
    """A row per kind: accuracy of every method with interval and spread, then the reference levels."""
    methods = list(kinds.low.index)
    references = [label for label in kinds.accuracy.index if label not in methods]
    rows = []
    for kind in kinds.accuracy.columns:
        row = [markdown(kind), str(kinds.questions[kind])]
        for label in methods:
            value = kinds.accuracy.loc[label, kind]
            least, most = kinds.least.loc[label, kind], kinds.most.loc[label, kind]
            text = f"{share(value)} {interval(kinds.low.loc[label, kind], kinds.high.loc[label, kind])}"
            text += f" seeds {share(least)} to {share(most)}" if kinds.models[label] > 1 else ""
            row.append(text if known(value) else NO_DATA)
        rows.append(row + [share(kinds.accuracy.loc[label, kind]) for label in references])
    return table(["kind", "n", *(markdown(label) for label in methods), *references], rows)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Every pair with its paired difference and what may be said of it."""
    rows = [
        [
            f"{markdown(one.better)} over {markdown(one.worse)}",
            f"{one.difference.mean:+.3f} [{one.difference.low:+.3f}, {one.difference.high:+.3f}]",
            f"{one.adjusted_p:.4f}",
            f"{one.questions:,}",
            f"{one.models[0]} and {one.models[1]}",
            "yes" if one.seeds_apart else "no",
            "yes" if one.borne else "no",
        ]
        for one in comparisons
    ]
    header = ["pair", "difference [95 %]", "p (Holm)", "n", "models", "seeds apart", "claimed"]
    return table(header, rows)


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


def _whole(value: float) -> str:
    return f"{value:,.0f}" if known(value) else NO_DATA


def _place(row: dict[str, Any]) -> list[str]:
    mark = " (extrapolated)" if row["extrapolated"] else ""
    return [markdown(row["method"]), f"{row['frames']}{mark}", row["resolution"]]


def _outcome(row: dict[str, Any]) -> str:
    """What stands in place of a measure; empty where at least one model has been measured."""
    if row["models"]:
        return ""
    if row["failed"]:
        return "failed: " + markdown(row["failures"].replace("_", " "))
    return "skipped"


def _spread(row: dict[str, Any]) -> str:
    if row["models"] < 2 or not known(row["accuracy_min"]):
        return NO_DATA
    return f"{share(row['accuracy_min'])} to {share(row['accuracy_max'])}"


def _scaled(value: float, unit: float) -> float | None:
    return value / unit if known(value) else None


def _time(row: dict[str, Any], name: str) -> str:
    middle, low, high = row[f"{name}_ms"], row[f"{name}_q25_ms"], row[f"{name}_q75_ms"]
    return f"{number(middle)} [{number(low)}, {number(high)}]" if known(middle) else NO_DATA


def _parameters(count: float, smallest: float) -> str:
    if not known(count):
        return NO_DATA
    return f"{count:,.0f} ({100 * (count / smallest - 1):+.1f} %)"
