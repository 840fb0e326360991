"""Ratios of times from interleaved rounds, and where an order turns with the number of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from harness.report.document import Block, Cell, Column, Section, Table, Text, cell
from harness.report.evidence import Evidence
from harness.report.made import made
from harness.report.points import rows_of
from harness.report.sources import timing_source
from harness.report.style import ordered
from harness.report.tables import ratio_cell
from harness.report.text import NO_DATA, numbered
from harness.timing.crossings import Crossing, crossings
from harness.timing.frame import labels_of, ratios
from harness.timing.records import TimingRecord

HOW_COMPARED = (
    "A ratio of times counts only where both methods were timed in turns, round by round in one process: "
    "what slows the machine for a while then slows both. Times of cells, in the tasks' sections, come from "
    "processes of their own and bear no ratio. Brackets are 95 % intervals over rounds; an order is claimed "
    "where the interval excludes 1."
)
PHASES = {
    "prefill": "prefill, without vision encoding",
    "per_frame": "an appended frame",
    "per_token": "a decoded token",
}


def section(evidence: Evidence) -> Section | None:
    """One part per run of sizes that were timed alike; None for a run without interleaved timings."""
    if not evidence.timings:
        return None
    compared = ratios(evidence.timings, evidence.defaults)
    if not len(compared):
        return Section(
            title="Latency ratios",
            blocks=(Text(HOW_COMPARED), Text("No two methods were timed at the same size.")),
        )
    parts = []
    for number_, ((series, resolution), rows) in enumerate(compared.groupby(["series", "resolution"]), 1):
        records = [one for one in evidence.timings if one.key.series == series]
        parts.append(_part(rows, records, str(resolution), f"latency_{number_}", evidence))
    return Section(title="Latency ratios", blocks=(Text(HOW_COMPARED),), parts=tuple(parts))


def baseline(records: Sequence[TimingRecord], evidence: Evidence) -> str:
    """The method that the others are divided by: the first in the order of legends."""
    labels = labels_of(records, evidence.defaults)[0]
    names = [method.method for method in records[0].key.methods]
    return ordered(list(zip(labels, names, strict=True)))[0]


def turns(evidence: Evidence) -> tuple[set[str], list[Crossing], list[Crossing]]:
    """The baselines, the borne crossings that involve one of them, and the others."""
    bases = {baseline([one], evidence) for one in evidence.timings}
    found = crossings(ratios(evidence.timings, evidence.defaults))
    mine = [one for one in found if bases & {one.faster_before, one.faster_after}]
    return bases, mine, [one for one in found if one not in mine]


def _part(
    rows: pd.DataFrame, records: Sequence[TimingRecord], resolution: str, stem: str, evidence: Evidence
) -> Section:
    base, first = baseline(records, evidence), rows_of(rows)[0]
    blocks: list[Block] = [
        made(f"the table of {words}", _table, rows, phase, base, stem, evidence)
        for phase, words in PHASES.items()
    ]
    blocks.append(made("the table of turns", _turns, rows, stem, evidence))
    setting = ", ".join(str(first[name]) for name in ("task", "backbone", "dtype", "device"))
    return Section(
        title=f"{setting}, {resolution} pixels, {first['weights']} weights, "
        f"{numbered(int(first['threads']), 'thread')}",
        blocks=tuple(blocks),
    )


def _table(rows: pd.DataFrame, phase: str, base: str, stem: str, evidence: Evidence) -> Table:
    """Each method's time divided by the baseline's, by frames."""
    mine = rows_of(rows[rows["phase"] == phase])
    frames = sorted({int(row["frames"]) for row in mine})
    cells: dict[str, dict[int, Cell]] = {}
    for row in mine:
        if base in (row["first"], row["second"]):
            other = row["second"] if row["first"] == base else row["first"]
            cells.setdefault(other, {})[int(row["frames"])] = _over(row, inverse=row["first"] == base)
    digests = {row["digest"] for row in mine}
    return Table(
        name=f"{stem}_{phase}",
        caption=f"Time divided by {base}'s, {PHASES[phase]}: median over "
        f"{numbered(max(int(row['rounds']) for row in mine), 'round')} [95 %], by frames.",
        columns=(Column("method", numeric=False), *(Column(f"{count:,}") for count in frames)),
        rows=tuple(
            (cell(label), *(found.get(count, cell(NO_DATA)) for count in frames))
            for label, found in cells.items()
        ),
        methods=tuple(cells),
        source=timing_source(evidence, digests, (phase,), (base,)),
    )


def _over(row: Mapping[str, float], *, inverse: bool) -> Cell:
    ratio, low, high = row["ratio"], row["low"], row["high"]
    return ratio_cell(1 / ratio, 1 / high, 1 / low) if inverse else ratio_cell(ratio, low, high)


def _turns(rows: pd.DataFrame, stem: str, evidence: Evidence) -> Table | Text:
    """Every pair of methods whose order turns with the number of frames."""
    found = crossings(rows)
    if not found:
        return Text("No order turns with the number of frames.")
    return Table(
        name=f"{stem}_turns",
        caption="Pairs of methods whose order turns with the number of frames: the frames at which the "
        "interval tells the one or the other as faster, and those between at which it tells neither.",
        columns=(
            Column("phase", numeric=False),
            Column("faster first", numeric=False),
            Column("faster later", numeric=False),
            *(Column(title) for title in ("frames of the first", "cannot be told", "frames of the later")),
        ),
        rows=tuple(
            (
                cell(PHASES[one.phase]),
                cell(one.faster_before),
                cell(one.faster_after),
                *(_frames(counts) for counts in (one.before, one.unclear, one.after)),
            )
            for one in found
        ),
        source=timing_source(evidence, set(rows["digest"]), tuple(dict.fromkeys(one.phase for one in found))),
    )


def _frames(counts: Sequence[int]) -> Cell:
    return cell(", ".join(f"{count:,}" for count in counts), counts[0] if counts else None)
