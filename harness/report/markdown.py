"""The report's text: sections of Markdown, made from frames and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.kinds import KindTable
from harness.report.points import numeric, place_name, rows_of
from harness.report.summary import summary
from harness.report.tables import (
    accuracy_table,
    comparison_table,
    cost_table,
    growth_table,
    kinds_table,
    overview_table,
    table,
)
from harness.report.text import NO_DATA, known, markdown, numbered
from harness.store import Problem

HOW_TO_READ = """\
- A *cell* is one method with one trained model at one number of frames and one resolution. Rows and
  lines take cells together that differ in their seed only: accuracies are means over those models, costs
  are medians.
- Brackets behind an accuracy are the 95 % interval over samples for one model (the mean over models of
  both ends). The spread over seeds stands apart from it, as the least and the largest value, and as dots
  in figures.
- An order between methods is claimed only where every seed of one is above every seed of the other and a
  paired permutation test over clips on the same questions has p < 0.05 after Holm's correction over all
  pairs.
- *Chance* is a uniform guess, the *blind* oracle sees the question only, the *last-frame* oracle the
  question and what is true of the last frame. They move with the frames because the kinds that can be
  asked do.
- *Extrapolated*: more frames or another resolution than the model was trained on (hollow marks, dotted
  lines).
- *Peak* is the largest number of live bytes during prefill; *resting* is what lives before it:
  parameters, buffers and inputs. *Above resting* is the difference, and is what grows. *State* is what a
  session keeps between frames.
- *Cost of one more frame*: what is added from the fewest to the most frames, divided by the frames added.
- *First token* is the median of encoding all frames plus the median of the prefill; its brackets are the
  sums of both first and both third quartiles. Other times are medians with quartiles. Times are at batch
  1.
- A dash is no data, never zero. A failed cell is a result: it is marked at the size where it happened.
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One setting: its values, frames and the names of its figures, by caption."""

    title: str
    setting: Mapping[str, object]
    cells: pd.DataFrame
    points: pd.DataFrame
    place: tuple[int, int, int] | None
    kinds: KindTable | None
    comparisons: Sequence[Comparison]
    figures: Mapping[str, str]

    def markdown(self) -> str:
        """The section's text."""
        parts = [f"## {markdown(self.title)}", _setting_line(self.setting)]
        lines = summary(self.cells, self.points, self.place, self.kinds, self.comparisons)
        parts.append("\n".join(f"- {line}" for line in lines))
        if self.place is not None:
            parts += [f"### Overview at {place_name(self.place)}", overview_table(self.points, self.place)]
        for caption, name in self.figures.items():
            parts.append(f"![{markdown(caption)}]({name}.png)\n\n{markdown(caption)} ([SVG]({name}.svg))")
        if numeric(self.points["accuracy"]).notna().any():
            parts += ["### Accuracy", accuracy_table(self.points)]
        if self.points["models"].any():
            parts += ["### Cost", cost_table(self.points)]
        if (self.points.loc[self.points["models"] > 0, "frames"].nunique()) > 1:
            parts += ["### Cost of one more frame", growth_table(self.points)]
        if self.kinds is not None:
            parts += [f"### Accuracy by kind of question at {self.kinds.where}", kinds_table(self.kinds)]
        if self.comparisons:
            parts += ["### Pairs of methods, question by question", comparison_table(self.comparisons)]
        return "\n\n".join(parts)


def report(
    cells: pd.DataFrame,
    sections: Sequence[Section],
    problems: Sequence[Problem],
    commands: Sequence[str],
    files: Mapping[str, str],
) -> str:
    """The whole report; ``files`` maps the names of CSV files to what they hold."""
    parts = ["# Report"]
    measured = int((cells["outcome"] == "ok").sum()) if len(cells) else 0
    if not len(cells):
        parts.append("**There are no records in this run, so there is nothing to report.**")
    elif not measured:
        parts.append(
            f"**None of the {numbered(len(cells), 'cell')} was measured**; the reasons are listed below."
        )
    parts += [section.markdown() for section in sections]
    if measured:
        parts += ["## How to read this", HOW_TO_READ.rstrip()]
    parts += _not_measured(cells)
    if problems:
        rows = [[markdown(problem.path.name), markdown(problem.reason)] for problem in problems]
        parts += ["## Records that could not be loaded", table(["file", "reason"], rows, left=2)]
    if len(cells):
        parts += ["## Where and how this was measured", *_environments(cells)]
        parts += ["To measure it again:", "```console\n" + "\n".join(commands) + "\n```"]
    listing = [f"- [{name}]({name}): {what}" for name, what in files.items()]
    parts += ["## Files", "\n".join(listing)]
    return "\n\n".join(parts) + "\n"


def _setting_line(setting: Mapping[str, object]) -> str:
    shown = {name: value for name, value in setting.items() if name != "task" and value != "{}"}
    return ", ".join(f"{markdown(name.replace('_', ' '))} {markdown(value)}" for name, value in shown.items())


def _not_measured(cells: pd.DataFrame) -> list[str]:
    parts = []
    for outcome, title in (("failed", "Failed cells"), ("skipped", "Skipped cells")):
        rows = [
            [
                markdown(row["task"]),
                markdown(row["method"]),
                str(row["frames"]),
                row["resolution"],
                str(row["seed"]),
                markdown(row["failure"]).replace("\\_", " ").replace("_", " ")
                if known(row["failure"])
                else "skipped",
                markdown(row["message"]) if known(row["message"]) else NO_DATA,
            ]
            for row in rows_of(cells[cells["outcome"] == outcome])
        ]
        if rows:
            header = ["task", "method", "frames", "pixels", "seed", "what", "reason"]
            parts += [f"## {title}", table(header, rows, left=7)]
    return parts


def _environments(cells: pd.DataFrame) -> list[str]:
    names = [name for name in cells.columns if name.startswith("env_")]
    different = cells.groupby(names, dropna=False, sort=False).size().reset_index(name="cells")
    rows = [
        [
            name.removeprefix("env_").replace("_", " "),
            *(markdown(value) if known(value) else NO_DATA for value in different[name]),
        ]
        for name in [*names, "cells"]
    ]
    header = ["", *(f"environment {index + 1}" for index in range(len(different)))]
    parts = [table(header, rows, left=len(header))]
    if len(different) > 1:
        parts.insert(
            0,
            f"**The cells come from {len(different)} environments.** Accuracies can be compared; times and "
            "memory of different environments stand side by side only.",
        )
    return parts
