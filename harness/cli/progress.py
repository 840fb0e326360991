"""What the terminal shows while cells are measured; plain lines where standard error is no terminal."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.cli.errors import one_line, warn_broken
from harness.execute.observer import Observer
from harness.plan import Plan, PlannedCell, method_label
from harness.records import CellKey, Failed, Record, Skipped
from harness.report.text import numbered

if TYPE_CHECKING:
    from harness.spec import EvalSpec

_REDRAW_S = 1.0


def progress_on(stream: TextIO, spec: EvalSpec, debug: bool) -> Observer:
    """A live display where ``stream`` is a terminal, else one line per cell."""
    console = Console(file=stream)
    if console.is_terminal and not console.is_dumb_terminal:
        return _Live(console, spec, debug)
    return _Plain(console, spec, debug)


class _Counting(Observer):
    """Counts cells and estimates the time left from those that are finished."""

    def __init__(self, console: Console, spec: EvalSpec, debug: bool) -> None:
        self.console = console
        self._spec = spec
        self._debug = debug
        self._total = 0
        self._done = 0
        self._finished_s: list[float] = []
        self._began = 0.0
        self._several = False

    def begin(self, plan: Plan, kept: AbstractSet[str]) -> None:
        warn_broken(plan.broken, self._debug)
        self._total = sum(cell.skip is None and cell.key.digest not in kept for cell in plan.cells)
        skipped = sum(cell.skip is not None for cell in plan.cells)
        measured = len(plan.cells) - skipped - self._total
        self.line(
            f"{numbered(len(plan.cells), 'cell')}: {self._total} to measure, {measured} measured already, "
            f"{skipped} skipped; records go to {self._spec.out_dir}"
        )
        if plan.left_out is not None:
            self.line(plan.left_out)
        self._several = len({cell.key.backbone for cell in plan.cells}) > 1

    def cell_started(self, cell: PlannedCell) -> None:
        self._began = time.monotonic()

    def cell_ended(self, record: Record) -> None:
        if not isinstance(record.outcome, Skipped):
            self._done += 1
            self._finished_s.append(time.monotonic() - self._began)

    def left(self) -> str:
        """The time left, or nothing while no cell is finished."""
        if not self._finished_s:
            return ""
        # The first cell also waits for the fork server and decodes what the others share.
        finished_s = self._finished_s[1:] or self._finished_s
        mean = sum(finished_s) / len(finished_s)
        seconds = round(mean * (self._total - self._done))
        return f"about {seconds // 60}:{seconds % 60:02d} left"

    def label(self, key: CellKey) -> str:
        """A cell in a few words; with its backbone where there are several."""
        return f"{cell_label(key)} on {key.backbone}" if self._several else cell_label(key)

    def line(self, text: str) -> None:
        self.console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)


class _Plain(_Counting):
    def cell_ended(self, record: Record) -> None:
        super().cell_ended(record)
        if not isinstance(record.outcome, Skipped):
            left = self.left() if self._done < self._total else "last cell"
            self.line(
                f"[{self._done}/{self._total}] {self.label(record.key)}: {outcome_label(record)}, "
                f"{self._finished_s[-1]:.1f} s, {left}"
            )


class _Live(_Counting):
    def __init__(self, console: Console, spec: EvalSpec, debug: bool) -> None:
        super().__init__(console, spec, debug)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self._task: TaskID | None = None
        self._drawn = 0.0
        self._label = ""

    def begin(self, plan: Plan, kept: AbstractSet[str]) -> None:
        super().begin(plan, kept)
        self._task = self._bar.add_task("", total=self._total, left="")
        self._bar.start()

    def cell_started(self, cell: PlannedCell) -> None:
        super().cell_started(cell)
        if cell.skip is None:
            self._label = self.label(cell.key)
            self.stage("starting")

    def stage(self, text: str) -> None:
        self._update(description=f"{self._label}: {one_line(text)}")

    def tick(self) -> None:
        self._update()

    def cell_ended(self, record: Record) -> None:
        super().cell_ended(record)
        self._update()
        if isinstance(record.outcome, Failed):
            self.line(f"{self.label(record.key)}: {outcome_label(record)}")

    def end(self) -> None:
        self._bar.stop()

    def _update(self, description: str | None = None) -> None:
        # Drawn at most once a second, and by no thread: the cell under way may be timing itself.
        now = time.monotonic()
        if self._task is not None:
            due = description is not None or now - self._drawn >= _REDRAW_S
            self._bar.update(
                self._task, description=description, completed=self._done, left=self.left(), refresh=due
            )
            self._drawn = now if due else self._drawn


def cell_label(key: CellKey) -> str:
    """A cell in a few words."""
    return f"{key.task} {method_label(key)} {key.frames} frame(s) {key.height}x{key.width} seed {key.seed}"


def outcome_label(record: Record) -> str:
    """An outcome in a few words."""
    outcome = record.outcome
    if isinstance(outcome, Skipped):
        return "skipped"
    if isinstance(outcome, Failed):
        return f"failed ({outcome.failure})"
    accuracy = outcome.measures.accuracy
    if outcome.measures.unscored:
        return "measured, but no answer was scored"
    return (
        "measured" if accuracy is None or accuracy.mean is None else f"accuracy {100 * accuracy.mean:.1f} %"
    )
