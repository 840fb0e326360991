"""A summary in words, made from the numbers. It claims an order only where seeds and questions bear it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.kinds import KindTable
from harness.report.points import at, numeric, place_name, rows_of
from harness.report.style import ordered
from harness.report.text import interval, known, listed, number, numbered, share

MIB = 2**20


def summary(
    cells: pd.DataFrame,
    points: pd.DataFrame,
    place: tuple[int, int, int] | None,
    kinds: KindTable | None,
    comparisons: Sequence[Comparison],
) -> list[str]:
    """One sentence or two per item, for one setting."""
    items = [_measured(cells)]
    if (cells["weights"] == "random").any():
        items.append("The models have random weights: their costs mean something, their accuracies do not.")
    unscored = numeric(cells["errors"]).max()
    if unscored > 0:
        items.append(
            f"Up to {numbered(int(unscored), 'question')} of a cell could not be asked or scored (media that "
            "cannot be read, for instance) and do not count; the files in `samples` name them."
        )
    if place is not None:
        items.append(_accuracies(at(points, place), place_name(place)))
        items += _order(at(points, place), comparisons)
    if kinds is not None:
        items += _at_chance(kinds)
    items += _growth(points, "above_resting_bytes", MIB, "MiB", "Peak memory above resting")
    items += _growth(points, "per_frame_ms", 1.0, "ms", "The median time of an appended frame")
    return items + _failures(points)


def _failures(points: pd.DataFrame) -> list[str]:
    """Per method and kind of failure the sizes where it happened, or their number where they are many."""
    failed = points[points["failed"] > 0]
    parts = []
    for label in ordered(list(zip(failed["method"], failed["method_name"], strict=True))):
        mine = failed[failed["method"] == label]
        for kinds, rows in mine.groupby("failures", sort=True):
            places = [
                f"{numbered(row['frames'], 'frame')} and {row['resolution']} pixels" for row in rows_of(rows)
            ]
            sizes = int((points["method"] == label).sum())
            where = listed(places) if len(places) < 4 else f"{len(places)} of {sizes} sizes"
            parts.append(f"{label} at {where} ({str(kinds).replace('_', ' ')})")
    return [f"Not finished: {'; '.join(parts)}."] if parts else []


def _measured(cells: pd.DataFrame) -> str:
    counts = [
        f"{int((cells['outcome'] == outcome).sum())} {outcome}" for outcome in ("ok", "failed", "skipped")
    ]
    methods = ordered(list(zip(cells["method"], cells["method_name"], strict=True)))
    seeds = sorted(set(cells["seed"]))
    sizes = cells.drop_duplicates("resolution").sort_values("side_px")["resolution"].tolist()
    return (
        f"{numbered(len(cells), 'cell')} ({', '.join(counts)}) "
        f"of {listed(methods)}: "
        f"frames {listed([str(value) for value in sorted(set(cells['frames']))])}; pixels {listed(sizes)}; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}."
    )


def _accuracies(points: pd.DataFrame, where: str) -> str:
    parts = []
    for row in sorted(rows_of(points), key=lambda row: -row["accuracy"] if known(row["accuracy"]) else 2.0):
        if known(row["accuracy"]):
            spread = (
                f", seeds {share(row['accuracy_min'])} to {share(row['accuracy_max'])}"
                if row["models"] > 1
                else ""
            )
            low_high = interval(row["accuracy_low"], row["accuracy_high"])
            parts.append(f"{row['method']} {share(row['accuracy'])} {low_high}{spread}")
    levels = [
        f"{label} {share(numeric(points[column]).mean())}"
        for column, label in (
            ("chance", "chance"),
            ("oracle_blind", "blind oracle"),
            ("oracle_last_frame", "last-frame oracle"),
        )
        if numeric(points[column]).notna().any()
    ]
    text = f"Accuracy at {where}: {'; '.join(parts)}."
    return f"{text} For comparison: {', '.join(levels)}." if levels else text


def _order(points: pd.DataFrame, comparisons: Sequence[Comparison]) -> list[str]:
    scored = points[numeric(points["accuracy"]).notna()]
    if len(scored) < 2:
        return []
    if scored["models"].min() < 2:
        single = [row["method"] for row in rows_of(scored) if row["models"] < 2]
        return [
            f"No order is claimed that involves {listed(single)}: with one model there, the spread over "
            "seeds is not known.",
            *_claims([one for one in comparisons if one.borne]),
        ]
    if not comparisons:
        return ["No order between methods is claimed: the answers to single questions are not in this run."]
    unclear = [f"{one.better} and {one.worse}" for one in comparisons if not one.borne]
    rest = [f"No order is claimed between {'; nor between '.join(unclear)}."] if unclear else []
    return _claims([one for one in comparisons if one.borne]) + rest


def _claims(borne: Sequence[Comparison]) -> list[str]:
    return [
        f"{one.better} is more accurate than {one.worse} by {one.difference.mean:.2f} "
        f"{interval(one.difference.low, one.difference.high)}: every seed of the one is above every seed of "
        f"the other, and the paired test has p = {one.adjusted_p:.4f}."
        for one in borne
    ]


def _at_chance(kinds: KindTable) -> list[str]:
    if "chance" not in kinds.accuracy.index:
        return []
    items = []
    level = kinds.accuracy.loc["chance"].astype(float)
    for label in kinds.low.index:
        near = [
            kind
            for kind in kinds.accuracy.columns
            if kinds.low.loc[label, kind] <= level[kind] <= kinds.high.loc[label, kind]
        ]
        below = [kind for kind in kinds.accuracy.columns if kinds.high.loc[label, kind] < level[kind]]
        if near:
            what = "any kind of question" if len(near) == len(kinds.accuracy.columns) else listed(near)
            items.append(f"{label} cannot be told from chance on {what}.")
        if below:
            items.append(f"{label} is below chance on {listed(below)}.")
    return items


def _growth(points: pd.DataFrame, column: str, unit: float, name: str, what: str) -> list[str]:
    """From the fewest to the most frames that each method finished, at the most pixels."""
    usable = points[numeric(points[column]).notna()]
    if not len(usable):
        return []
    size = usable.sort_values("side_px")["resolution"].iloc[-1]
    parts = []
    for label in ordered(list(zip(usable["method"], usable["method_name"], strict=True))):
        rows = rows_of(
            usable[(usable["method"] == label) & (usable["resolution"] == size)].sort_values("frames")
        )
        if len(rows) > 1 and rows[0][column] > 0:
            first, last = rows[0][column], rows[-1][column]
            parts.append(
                f"{label} from {number(first / unit)} to {number(last / unit)} {name} "
                f"(times {number(last / first, 2)}) from {rows[0]['frames']} to {rows[-1]['frames']} frames"
            )
    return [f"{what} at {size} pixels: {'; '.join(parts)}."] if parts else []
