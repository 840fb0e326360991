"""What one setting shows in words, made from the numbers; orders only where seeds and questions bear them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.kinds import KindTable
from harness.report.points import at, numeric, place_name, rows_of
from harness.report.sections.latency import PHASES as PHASE_WORDS
from harness.report.style import ordered
from harness.report.tables import growths
from harness.report.text import known, listed, number, numbered, share, some
from harness.report.timed import TimedSize
from harness.report.verdicts import ranking, verdict
from harness.timing.records import PHASES

FEW = 4
"""Methods that are named one by one."""


def setting_in_words(
    cells: pd.DataFrame,
    points: pd.DataFrame,
    place: tuple[int, int, int] | None,
    comparisons: Sequence[Comparison],
    timed: Sequence[TimedSize] = (),
) -> list[str]:
    """One sentence or two per item, for one setting; what a table says method by method is left to it."""
    items = [_measured(cells)]
    if (cells["weights"] == "random").any():
        items.append("The models have random weights: their costs mean something, their accuracies do not.")
    if place is not None:
        items += _order(at(points, place), comparisons, place_name(place))
        items += _levels(at(points, place), place_name(place))
    return items + _growth(points) + _fastest(timed, place) + _failures(points)


def _failures(points: pd.DataFrame) -> list[str]:
    """Per method and kind of failure the sizes where it happened, or their number where they are many."""
    partial = points[points["out_of_memory"] != ""]
    in_phases = "out of memory in " + partial["out_of_memory"].astype(str)
    failed = pd.concat([points[points["failed"] > 0], partial.assign(failures=in_phases)])
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
    outcomes = [(int((cells["outcome"] == name).sum()), name) for name in ("ok", "failed", "skipped")]
    counts = [f"{count} {name}" for count, name in outcomes if count]
    methods = ordered(list(zip(cells["method"], cells["method_name"], strict=True)))
    of = listed(methods) if len(methods) <= FEW else f"{len(methods)} methods"
    seeds = sorted(set(cells["seed"]))
    sizes = cells.drop_duplicates("resolution").sort_values("side_px")["resolution"].tolist()
    return (
        f"{numbered(len(cells), 'cell')} ({', '.join(counts)}) of {of}: "
        f"frames {listed([str(value) for value in sorted(set(cells['frames']))])}; pixels {listed(sizes)}; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}."
    )


def _levels(points: pd.DataFrame, where: str) -> list[str]:
    """What needs no model."""
    levels = [
        f"{label} {share(numeric(points[column]).mean())}"
        for column, label in (
            ("chance", "chance"),
            ("oracle_blind", "blind oracle"),
            ("oracle_last_frame", "last-frame oracle"),
        )
        if numeric(points[column]).notna().any()
    ]
    return [f"For comparison, at {where}: {', '.join(levels)}."] if levels else []


def _order(here: pd.DataFrame, comparisons: Sequence[Comparison], where: str) -> list[str]:
    """The best and its ties; pair by pair is a table's matter."""
    found = ranking(here, comparisons)
    if found is None or len(found.scores) < 2:
        return []
    if not comparisons:
        return ["No order between methods is claimed: the answers to single questions are not in this run."]
    borne = sum(one.borne for one in comparisons)
    text = f"Most accurate at {where}: {verdict(found, found.scores)}. "
    text += f"{borne} of {numbered(len(comparisons), 'order')} between two methods "
    text += f"{'is' if borne == 1 else 'are'} claimed, by every seed and the paired test."
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


def _growth(points: pd.DataFrame) -> list[str]:
    """The least and the largest factor by which memory grows with frames, at the most pixels."""
    grown = [one for one in growths(points) if one.above_resting[0] > 0]
    if not grown:
        return []
    side = max(one.side_px for one in grown)
    grown = sorted((one for one in grown if one.side_px == side), key=lambda one: one.factor)
    ends = grown[:1] if len(grown) == 1 else [grown[0], grown[-1]]
    parts = [
        f"times {number(one.factor, 2)} with {one.method} ({one.frames[0]} to {one.frames[1]} frames)"
        for one in ends
    ]
    return [f"Peak memory above resting grows at {grown[0].resolution} pixels: {' to '.join(parts)}."]


def _fastest(timed: Sequence[TimedSize], place: tuple[int, int, int] | None) -> list[str]:
    """Who is fastest of the methods that were timed in turns where methods are compared."""
    size = next((one for one in timed if one.place == place), None)
    if size is None:
        return []
    parts = []
    for phase in PHASES:
        best, tied = size.fastest(phase)
        ratio = size.ratio(phase, best, size.base)
        spread = f" [{number(ratio.low)}, {number(ratio.high)}]" if known(ratio.low) else ""
        text = f"{PHASE_WORDS[phase]}: {best}"
        text += f", {number(ratio.ratio)}{spread} of {size.base}'s time" if best != size.base else ""
        text += f", not clearly faster than {listed(tied)}" if tied else ""
        parts.append(text)
    return [f"Fastest at {place_name(size.place)}, timed in turns: {'; '.join(parts)}."]
