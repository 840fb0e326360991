"""Where curves cross: from how many frames on another method needs less, or is faster, than the first."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.counted import Peaks, memory_crossings
from harness.report.document import Block, Column, Section, Table, Text, cell
from harness.report.evidence import Evidence
from harness.report.sections.budgets import source
from harness.report.sections.latency import turns
from harness.report.sources import joined, timing_source
from harness.report.style import ordered
from harness.report.text import NO_DATA, numbered
from harness.timing.crossings import Crossing
from harness.timing.frame import labels_of

MODES = {"prefill": "in one pass", "stream": "frame by frame"}
SHORT = {"prefill": "prefill", "per_frame": "appended frame", "per_token": "decoded token"}


def section(counted: Sequence[Peaks], evidence: Evidence) -> Section | None:
    """A table for memory and one for latency; None where nothing is counted over sizes or timed in turns."""
    blocks = [*memory(counted, evidence), *_latency(evidence)]
    return Section(title="Where curves cross", blocks=tuple(blocks)) if blocks else None


def dearest(peaks: Peaks) -> str:
    """The method that needs the most at the most frames."""
    largest = peaks.at(peaks.frames[-1])
    return max(largest, key=lambda label: largest[label])


def memory(counted: Sequence[Peaks], evidence: Evidence) -> list[Block]:
    """Every method beside the one that needs the most, a column per mode."""
    shown = [peaks for peaks in counted if len(peaks.peaks) > 1 and len(peaks.frames) > 1]
    if not shown:
        return []
    bases = [dearest(peaks) for peaks in shown]
    labels = list(dict.fromkeys(label for peaks in shown for label in peaks.scene.methods))
    rows = {
        label: [needs_less(peaks, label, base) for peaks, base in zip(shown, bases, strict=True)]
        for label in labels
        if {label} != {*bases}
    }
    crossing = sum(
        base not in (one.first, one.second)
        for peaks, base in zip(shown, bases, strict=True)
        for one in memory_crossings(peaks)
    )
    first = shown[0]
    table = Table(
        name="memory_turns",
        caption=(
            f"Memory: frames at which a method needs less than the one that needs the most at "
            f"{first.frames[-1]:,} frames (counted for {first.scene.key.backbone}, {first.pixels} pixels; "
            "between two counted sizes by a straight line)."
        ),
        columns=(
            Column("method", numeric=False),
            *(
                Column(f"{MODES[peaks.scene.key.mode]}, less than {base}", numeric=False)
                for peaks, base in zip(shown, bases, strict=True)
            ),
        ),
        rows=tuple((cell(label), *map(cell, entries)) for label, entries in rows.items()),
        methods=tuple(rows),
        source=joined(source(peaks, evidence) for peaks in shown),
    )
    return [table, *([Text(f"{_pairs(crossing)} too: section Memory.")] if crossing else [])]


def needs_less(peaks: Peaks, label: str, base: str) -> str:
    """Where a method's counted peak lies below another's: ``from about 114``, ``at every size``."""
    if label == base or label not in peaks.peaks or base not in peaks.peaks:
        return NO_DATA
    common = [frames for frames in peaks.peaks[label] if frames in peaks.peaks[base]]
    below = [
        peaks.peaks[label][frames].peak_bytes < peaks.peaks[base][frames].peak_bytes for frames in common
    ]
    if common and all(_alike(peaks, label, base, frames) for frames in common):
        return "equal within 1 %"
    mine = [one for one in memory_crossings(peaks) if {one.first, one.second} == {label, base}]
    if not mine and common:
        # Without a crossing the others are equal: methods often are at a single frame.
        first = next((frames for frames, less in zip(common, below, strict=True) if less), None)
        return "nowhere" if first is None else "at every size" if all(below) else f"from {first:,}"
    return ", ".join(f"{'up to' if one.first == label else 'from'} about {one.about:,.0f}" for one in mine)


def _alike(peaks: Peaks, label: str, base: str, frames: int) -> bool:
    one, other = (peaks.peaks[name][frames].peak_bytes for name in (label, base))
    return abs(one - other) < 0.01 * other


def _pairs(count: int) -> str:
    return f"{numbered(count, 'other pair')} of methods {'crosses' if count == 1 else 'cross'}"


def _latency(evidence: Evidence) -> list[Block]:
    """Those that involve the method that the others are divided by, and how many others there are."""
    if not evidence.timings:
        return []
    bases, mine, others = turns(evidence)
    if not mine and not others:
        return [
            Text("Latency: no order of two methods turns with the number of frames in interleaved rounds.")
        ]
    blocks: list[Block] = [_latency_table(bases, mine, evidence)] if mine else []
    if others:
        blocks.append(
            Text(f"{numbered(len(others), 'other crossing')} of latencies: section Latency ratios.")
        )
    return blocks


Curve = tuple[str, str, str, str, str]
"""Phase, task, weights, resolution, and the method that the others are compared with."""


def _latency_table(bases: set[str], mine: Sequence[Crossing], evidence: Evidence) -> Table:
    entries: dict[str, dict[Curve, list[str]]] = {}
    for one in mine:
        later = one.faster_before in bases
        base, other = (
            (one.faster_before, one.faster_after) if later else (one.faster_after, one.faster_before)
        )
        curve = (one.phase, one.task, one.weights, one.resolution, base)
        said = f"from {one.after[0]:,}" if later else f"up to {one.before[-1]:,}"
        entries.setdefault(other, {}).setdefault(curve, []).append(said)
    curves = list(dict.fromkeys(curve for by_curve in entries.values() for curve in by_curve))
    order = {phase: index for index, phase in enumerate(SHORT)}
    curves.sort(key=lambda curve: (curve[1] not in {*evidence.cells["task"]}, *curve[1:], order[curve[0]]))
    names = {
        label: key.method
        for record, labels in zip(
            evidence.timings, labels_of(evidence.timings, evidence.defaults), strict=True
        )
        for label, key in zip(labels, record.key.methods, strict=True)
    }
    shown = [label for label in ordered(list(names.items())) if label in entries]
    digests = {record.key.digest for record in evidence.timings}
    base = " or ".join(sorted({curve[-1] for curve in curves}))
    return Table(
        name="latency_turns",
        caption=(
            f"Latency: frames at which a method is faster than {base}, timed in turns, prefill without "
            "vision encoding; a dash: no clear turn."
        ),
        columns=(
            Column("method", numeric=False),
            *(
                Column(f"{SHORT[phase]}, {task}, {resolution} pixels, {weights} weights", numeric=False)
                for phase, task, weights, resolution, _ in curves
            ),
        ),
        rows=tuple(
            (cell(label), *(cell(", ".join(entries[label].get(curve, []))) for curve in curves))
            for label in shown
        ),
        methods=tuple(shown),
        source=joined(timing_source(evidence, digests, (phase,), (base,)) for phase, *_, base in curves),
    )
