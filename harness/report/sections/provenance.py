"""Where the numbers come from: how to read them, what was not measured, machines, commands and files."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.counting.records import NotCounted
from harness.report.command import reproduce
from harness.report.document import (
    Block,
    Column,
    Commands,
    Files,
    Notice,
    Section,
    Table,
    Terms,
    Text,
    cell,
)
from harness.report.evidence import Evidence
from harness.report.labels import method_labels, resolution_label
from harness.report.points import rows_of
from harness.report.text import NO_DATA, known

HOW_TO_READ = (
    (
        "Cell",
        "one method with one trained model at one number of frames and one resolution. Rows and lines take "
        "cells together that differ in their seed only: accuracies are means over those models, costs are "
        "medians.",
    ),
    (
        "Brackets behind an accuracy",
        "the 95 % interval over samples for one model (the mean over models of both ends). The spread over "
        "seeds stands apart from it, as the least and the largest value, and as dots in figures.",
    ),
    (
        "Claimed",
        "an order between methods is claimed only where every seed of one is above every seed of the other "
        "and a paired test on the same questions has p < 0.05 after Holm's correction over all pairs.",
    ),
    (
        "Chance, blind, last frame",
        "a uniform guess; the oracle that sees the question only; the oracle that sees the question and what "
        "is true of the last frame. They move with the frames because the kinds that can be asked do.",
    ),
    (
        "Extrapolated",
        "more frames or another resolution than the model was trained on (hollow marks, dotted lines).",
    ),
    (
        "Peak, resting, above resting",
        "the largest number of live bytes during prefill; what lives before it: parameters, buffers and "
        "inputs; the difference, which is what grows.",
    ),
    ("State", "what a session keeps between frames."),
    ("Cost of one more frame", "what is added from the fewest to the most frames, by the frames added."),
    (
        "First token",
        "the median of encoding all frames plus the median of the prefill; its brackets are the sums of both "
        "first and both third quartiles. Other times are medians with quartiles. Times are at batch 1.",
    ),
    (
        "Timed in turns",
        "methods were timed round by round in one process, so that a ratio of their times has an interval. "
        "Only such times are compared; those of cells come from processes of their own and are levels.",
    ),
    (
        "A dash",
        "no data, never zero. A failed cell is a result: it is marked at the size where it happened.",
    ),
)


def section(evidence: Evidence, files: Sequence[tuple[str, str]]) -> Section:
    """The last section; ``files`` are the names of the CSV files with what they hold."""
    cells = evidence.cells
    parts: list[Section] = []
    if (cells["outcome"] == "ok").any():
        parts.append(Section(title="How to read this", blocks=(Terms(HOW_TO_READ),)))
    parts += [part for part in (_missing(cells, "failed"), _missing(cells, "skipped")) if part]
    parts += _uncounted(evidence)
    parts += _problems(evidence)
    if len(cells):
        parts.append(Section(title="Where and how this was measured", blocks=tuple(_environments(cells))))
        commands = Commands(tuple(reproduce(evidence.records, evidence.defaults)))
        parts.append(Section(title="To measure it again", blocks=(commands,)))
    parts.append(Section(title="Files", blocks=(Files(tuple(files)),)))
    return Section(title="Provenance", parts=tuple(parts))


def _missing(cells: pd.DataFrame, outcome: str) -> Section | None:
    rows = rows_of(cells[cells["outcome"] == outcome])
    if not rows:
        return None
    titles = ("task", "method", "frames", "pixels", "seed", "what", "reason")
    table = Table(
        name=f"{outcome}_cells",
        caption=f"Every {outcome} cell with its reason.",
        columns=tuple(Column(title, numeric=title in ("frames", "seed")) for title in titles),
        rows=tuple(
            (
                cell(row["task"]),
                cell(row["method"]),
                cell(str(row["frames"]), row["frames"]),
                cell(row["resolution"], row["side_px"]),
                cell(str(row["seed"]), row["seed"]),
                cell(str(row["failure"]).replace("_", " ") if known(row["failure"]) else outcome),
                cell(row["message"] if known(row["message"]) else NO_DATA),
            )
            for row in rows
        ),
        methods=tuple(row["method"] for row in rows),
    )
    return Section(title=f"{outcome.capitalize()} cells", blocks=(table,))


def _uncounted(evidence: Evidence) -> list[Section]:
    labels = method_labels([one.key for one in evidence.counted], evidence.defaults)
    missing = [
        (label, one.key, one.outcome)
        for label, one in zip(labels, evidence.counted, strict=True)
        if isinstance(one.outcome, NotCounted)
    ]
    if not missing:
        return []
    table = Table(
        name="uncounted",
        caption="Every scenario that could not be counted with its reason.",
        columns=tuple(
            Column(title, numeric=title == "frames")
            for title in ("method", "mode", "backbone", "frames", "pixels", "reason")
        ),
        rows=tuple(
            (
                cell(label),
                cell(key.mode),
                cell(key.backbone),
                cell(f"{key.frames:,}", key.frames),
                cell(resolution_label(key.height, key.width), key.height * key.width),
                cell(outcome.message),
            )
            for label, key, outcome in missing
        ),
        methods=tuple(label for label, _, _ in missing),
    )
    return [Section(title="Scenarios that were not counted", blocks=(table,))]


def _problems(evidence: Evidence) -> list[Section]:
    if not evidence.problems:
        return []
    table = Table(
        name="left_out",
        caption="Files that count for nothing here, and why.",
        columns=(Column("file", numeric=False), Column("reason", numeric=False)),
        rows=tuple((cell(problem.path.name), cell(problem.reason)) for problem in evidence.problems),
    )
    return [Section(title="Records that are left out", blocks=(table,))]


def _environments(cells: pd.DataFrame) -> list[Block]:
    names = [name for name in cells.columns if name.startswith("env_")]
    different = cells.groupby(names, dropna=False, sort=False).size().reset_index(name="cells")
    heads = (f"environment {index + 1}" for index in range(len(different)))
    blocks: list[Block] = [
        Table(
            name="environments",
            caption="Machines and versions.",
            columns=(Column("", numeric=False), *(Column(head, numeric=False) for head in heads)),
            rows=tuple(
                (
                    cell(name.removeprefix("env_").replace("_", " ")),
                    *(cell(str(value) if known(value) else NO_DATA) for value in different[name]),
                )
                for name in [*names, "cells"]
            ),
        )
    ]
    if len(different) > 1:
        blocks.insert(
            0,
            Notice(
                f"The cells come from {len(different)} environments. Accuracies can be compared; times and "
                "memory of different environments stand side by side only."
            ),
        )
    else:
        blocks.insert(0, Text("All cells come from one environment."))
    return blocks
