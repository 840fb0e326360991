"""What one setting shows in words, made from the numbers; orders only where seeds and questions bear them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.kinds import KindTable
from harness.report.points import at, numeric, place_name, rows_of
from harness.report.style import ordered
from harness.report.text import interval, known, listed, number, numbered, share, some
from harness.report.verdicts import ranking, verdict

MIB = 2**20


def setting_in_words(
    cells: pd.DataFrame,
    points: pd.DataFrame,
    place: tuple[int, int, int] | None,
    comparisons: Sequence[Comparison],
) -> list[str]:
    """One sentence or two per item, for one setting."""
    items = [_measured(cells)]
    if (cells["weights"] == "random").any():
        items.append("The models have random weights: their costs mean something, their accuracies do not.")
    if place is not None:
        items.append(_accuracies(at(points, place), place_name(place)))
        items += _order(at(points, place), comparisons)
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


def _order(here: pd.DataFrame, comparisons: Sequence[Comparison]) -> list[str]:
    """The best and its ties; pair by pair is a table's matter."""
    found = ranking(here, comparisons)
    if found is None or len(found.scores) < 2:
        return []
    if not comparisons:
        return ["No order between methods is claimed: the answers to single questions are not in this run."]
    borne = sum(one.borne for one in comparisons)
    text = f"Most accurate: {verdict(found, found.scores)}. {borne} of {numbered(len(comparisons), 'order')} "
    text += f"between two methods {'is' if borne == 1 else 'are'} claimed, by every seed and the paired test."
    single = [label for label, score in found.scores.items() if score.models < 2]
    if single:
        text += (
            f" None is claimed that involves {some(single)}: with one model there, the spread over seeds "
            "is not known."
        )
    return [text]


def near_chance(kinds: KindTable) -> list[str]:
    """One line per method that cannot be told from chance, or is below it, on some kinds."""
    if "chance" not in kinds.accuracy.index:
        return []
    items = []
    level = kinds.accuracy.loc["chance"].astype(float)
    for label in kinds.low.index:
        low, high = kinds.low.loc[label], kinds.high.loc[label]
        near = [kind for kind in kinds.accuracy.columns if low[kind] <= level[kind] <= high[kind]]
        below = [kind for kind in kinds.accuracy.columns if high[kind] < level[kind]]
        parts = []
        if near:
            what = "any kind of question" if len(near) == len(kinds.accuracy.columns) else listed(near)
            parts.append(f"cannot be told from chance on {what}")
        if below:
            parts.append(f"is below chance on {listed(below)}")
        if parts:
            items.append(f"{label} {' and '.join(parts)}.")
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
