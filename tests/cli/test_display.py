"""The table and the progress display: odd names stay as they are, nothing is cut."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.progress import _Live, _Plain
from harness.cli.table import accuracy_text, print_table
from harness.plan import Plan
from harness.records import Accuracy, Ok
from tests.execute import cells, fakes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_the_table_cuts_nothing_and_reads_no_markup(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    odd = cells.record()
    odd = odd.model_copy(update={"key": odd.key.model_copy(update={"method_config": {"a": "[red]"}})})
    print_table([odd, cells.record(2, cells.FAILED), cells.record(4, cells.SKIPPED)], stream)
    text = stream.getvalue()
    assert "toy:a=[red]" in text
    assert "50.0 [25.0, 75.0]" in text
    assert "1,234" in text
    assert "failed: crash" in text
    assert len([line for line in text.splitlines() if "toy" in line]) == 2


def test_extrapolated_cells_are_marked() -> None:
    measures = fakes.measures().model_copy(update={"extrapolated": True})
    stream = io.StringIO()
    print_table([cells.record(outcome=Ok(measures=measures))], stream)
    assert "75.0]*" in stream.getvalue()
    assert "outside the tasks, frames" in stream.getvalue()


def test_no_accuracy_is_not_zero() -> None:
    nothing = Accuracy(
        mean=None, low=None, high=None, scored=0, unparsed=0, errors=3, chance=None, oracles={}
    )
    assert accuracy_text(None) == accuracy_text(nothing) == "–"  # noqa: RUF001


def plan(folder: Path) -> Plan:
    skipped = cells.plan(folder, 8, skip="planted")
    return Plan(cells=cells.plan(folder, 1, 2, 4).cells + skipped.cells, broken=())


def test_plain_progress_is_one_line_per_cell(tmp_path: Path) -> None:
    stream = io.StringIO()
    shown = _Plain(Console(file=stream, width=40), cells.spec(tmp_path), False)
    measured = plan(tmp_path).cells
    shown.begin(plan(tmp_path), {measured[0].key.digest})
    for cell in measured[1:]:
        shown.cell_started(cell)
        shown.stage("any\nstage")
        outcome = cells.SKIPPED if cell.skip else None
        shown.cell_ended(cells.record(cell.key.frames, outcome))
    shown.end()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("4 cells: 2 to measure, 1 measured already, 1 skipped")
    assert lines[1].startswith("[1/2] counting toy:layers=0/2 2 frame(s) 8x16 seed 0: accuracy 50.0 %")
    assert lines[2].endswith("last cell")
    assert len(lines) == 3


def test_live_progress_shows_cell_stage_and_count(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=True, color_system=None)
    shown = _Live(console, cells.spec(tmp_path), False)
    cell = plan(tmp_path).cells[1]
    shown.begin(plan(tmp_path), set())
    shown.cell_started(cell)
    shown.stage("answering [3/8]")
    shown.tick()
    shown.cell_ended(cells.record(2, cells.FAILED))
    shown.stage("answering")
    shown.end()
    text = stream.getvalue()
    assert "counting toy:layers=0/2 2 frame(s) 8x16 seed 0: answering [3/8]" in text
    assert "0/3" in text
    assert "1/3" in text
    assert "left" in text
    assert "seed 0: failed (crash)" in text
