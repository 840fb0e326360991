"""The table at the end of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harness.cli.errors import one_line
from harness.plan import method_label
from harness.records import Accuracy, Failed, Measures, Record, Skipped, Timing

NONE = "–"  # noqa: RUF001
OUT_OF_MEMORY = "out of memory"


def print_table(records: Sequence[Record], stream: TextIO) -> None:
    """One row per measured or failed cell; columns that would be the same in every row are left out."""
    shown = [record for record in records if not isinstance(record.outcome, Skipped)]
    if not shown:
        return
    several_tasks = len({record.key.task for record in shown}) > 1
    several_backbones = len({record.key.backbone for record in shown}) > 1
    several_seeds = len({record.key.seed for record in shown}) > 1
    table = new_table(stream)
    left = [("task", several_tasks), ("method", True), ("backbone", several_backbones)]
    right = [("frames", True), ("pixels", True), ("seed", several_seeds)]
    for name in (name for name, wanted in left if wanted):
        table.add_column(name, no_wrap=True)
    for name in [name for name, wanted in right if wanted] + list(_MEASURES):
        table.add_column(name, justify="right", no_wrap=True)
    for record in shown:
        key = record.key
        cells = [key.task] * several_tasks + [method_label(key)] + [key.backbone] * several_backbones
        cells += [str(key.frames), f"{key.height}x{key.width}"]
        cells += [str(key.seed)] * several_seeds + _measure_cells(record)
        table.add_row(*map(Text, cells))
    console = show_table(table, stream)
    if any(not isinstance(r.outcome, Failed | Skipped) and r.outcome.measures.extrapolated for r in shown):
        console.print(
            "* outside the tasks, frames or resolutions that the weights were trained on", markup=False
        )
    for record in shown:
        if not isinstance(record.outcome, Failed | Skipped) and record.outcome.measures.aggregates:
            console.print(_aggregates_text(record), markup=False)


def new_table(stream: TextIO) -> Table:
    """A table without columns: rules on a terminal, ASCII elsewhere."""
    terminal = stream.isatty()
    return Table(box=box.SIMPLE_HEAD if terminal else box.ASCII2, pad_edge=not terminal)


def show_table(table: Table, stream: TextIO) -> Console:
    """Print a table; returns what goes on printing after it."""
    console = Console(file=stream, highlight=False)
    # A terminal that is too narrow breaks the lines; cut columns would lose figures.
    console.width = max(console.width, _width_of(table, console))
    console.print(table)
    return console


def _width_of(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=1000), table).maximum


_MEASURES = ("accuracy % [95 %]", "peak MiB", "prefill ms", "per frame ms", "parameters")


def _measure_cells(record: Record) -> list[str]:
    if isinstance(record.outcome, Failed):
        return [f"failed: {record.outcome.failure}"] + [NONE] * (len(_MEASURES) - 1)
    assert not isinstance(record.outcome, Skipped)
    measures = record.outcome.measures
    return [
        accuracy_text(measures.accuracy) + ("*" if measures.extrapolated else ""),
        OUT_OF_MEMORY if measures.memory is None else f"{measures.memory.peak_bytes / 2**20:.2f}",
        _time(measures, "prefill"),
        _time(measures, "per_frame"),
        _parameters(measures),
    ]


def accuracy_text(accuracy: Accuracy | None) -> str:
    """Mean and interval in percent."""
    if accuracy is None or accuracy.mean is None:
        return NONE
    if accuracy.low is None or accuracy.high is None:
        return f"{100 * accuracy.mean:.1f}"
    return f"{100 * accuracy.mean:.1f} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]"


def _aggregates_text(record: Record) -> str:
    """A task's own metrics of all answers, on its own scale."""
    assert not isinstance(record.outcome, Failed | Skipped)
    key, measures = record.key, record.outcome.measures
    values = [
        f"{name} {NONE if value is None else f'{value:.4g}'}" for name, value in measures.aggregates.items()
    ]
    where = f"{key.task} {method_label(key)} {key.frames} frame(s) {key.height}x{key.width}"
    return one_line(f"{where}: {', '.join(values)}")


def _time(measures: Measures, phase: str) -> str:
    timing: Timing | None = getattr(measures.latency, phase)
    if timing is not None:
        return f"{timing.median_ms:.2f}"
    return OUT_OF_MEMORY if phase in {one.phase for one in measures.out_of_memory} else NONE


def _parameters(measures: Measures) -> str:
    return f"{measures.parameters:,}"
