"""Runs of several cells: what is kept, what is tried again, and what survives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.execute.observer import Observer
from harness.execute.process import start_server
from harness.execute.run import run_plan, write_cells
from harness.journal import journal_path, read_journal
from harness.plan import Plan
from harness.planned_models import NO_WEIGHTS
from harness.records import Failed, Ok, Record
from harness.store import Store, load_records
from harness.worker import read_cell

from . import cells, fakes


@pytest.fixture(autouse=True, scope="module")
def _server() -> None:
    start_server(cells.PRELOAD)


def run(plan: Plan, folder: Path, fake: str = "logged", *, resume: bool = True) -> list[Record]:
    spec = cells.spec(folder / "run", resume=resume)
    return run_plan(plan, spec, Observer(), f"{fakes.__name__}:{fake}")


def calls(folder: Path) -> list[int]:
    path = folder / "calls"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_records_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    records = run(cells.plan(tmp_path, 4, 1, 2), tmp_path)
    assert [record.key.frames for record in records] == [4, 1, 2]
    assert all(isinstance(record.outcome, Ok) for record in records)


def test_a_second_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    first = run(cells.plan(tmp_path, 1, 2), tmp_path)
    second = run(cells.plan(tmp_path, 1, 2, 4), tmp_path)
    assert calls(tmp_path) == [1, 2, 4]
    assert second[:2] == first


def test_a_half_written_record_is_measured_again(tmp_path: Path) -> None:
    run(cells.plan(tmp_path, 1, 2), tmp_path)
    path = Store(tmp_path / "run").records_dir / f"{cells.key(2).digest}.json"
    path.write_bytes(path.read_bytes()[:-40])
    run(cells.plan(tmp_path, 1, 2), tmp_path)
    assert calls(tmp_path) == [1, 2, 2]


def test_no_resume_measures_everything_again(tmp_path: Path) -> None:
    run(cells.plan(tmp_path, 1), tmp_path)
    run(cells.plan(tmp_path, 1), tmp_path, resume=False)
    assert calls(tmp_path) == [1, 1]


def test_a_failed_cell_does_not_stop_the_rest_and_is_tried_again(tmp_path: Path) -> None:
    plan = cells.plan(tmp_path, 1, 2, 4)
    first = run(plan, tmp_path, "fault_at_two_frames")
    second = run(plan, tmp_path)
    assert [record.outcome.kind for record in first] == ["ok", "failed", "ok"]
    assert [record.outcome.kind for record in second] == ["ok", "ok", "ok"]
    assert calls(tmp_path) == [2]


def answered(folder: Path) -> list[str] | None:
    read = read_journal(journal_path(Store(folder / "run").samples_dir, cells.key(1).digest))
    return None if read is None else [outcome.sample for outcome in read[1]]


def test_answers_outlive_their_process_until_the_cell_is_measured(tmp_path: Path) -> None:
    for expected in (["s0"], ["s0", "s1"]):
        (record,) = run(cells.plan(tmp_path, 1), tmp_path, "killed_after_an_answer")
        assert isinstance(record.outcome, Failed)
        assert answered(tmp_path) == expected
    run(cells.plan(tmp_path, 1), tmp_path, "killed_after_an_answer", resume=False)
    assert answered(tmp_path) == ["s0"]
    run(cells.plan(tmp_path, 1), tmp_path, "good")
    assert answered(tmp_path) is None


def test_a_skipped_cell_is_recorded_and_forgotten_once_it_has_weights(tmp_path: Path) -> None:
    without = cells.plan(tmp_path, 1, skip="no weights", weights=NO_WEIGHTS)
    assert [record.outcome.kind for record in run(without, tmp_path)] == ["skipped"]
    assert run(without, tmp_path) == load_records(tmp_path / "run")[0]
    assert calls(tmp_path) == []
    run(cells.plan(tmp_path, 1, weights="0123456789abcdef"), tmp_path)
    records, _ = load_records(tmp_path / "run")
    assert [record.key.weights for record in records] == ["0123456789abcdef"]


def test_a_full_disk_stops_the_run_and_keeps_what_is_there(tmp_path: Path) -> None:
    plan = cells.plan(tmp_path, 1, 2, 4)
    with pytest.raises(InfrastructureError, match="the disk is full"):
        run(plan, tmp_path, "full_disk_at_two_frames")
    records, problems = load_records(tmp_path / "run")
    assert [record.key.frames for record in records] == [1]
    assert problems == []


def test_the_observer_is_told_and_always_let_go(tmp_path: Path) -> None:
    class Listening(Observer):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def stage(self, text: str) -> None:
            self.heard.append(text)

        def cell_ended(self, record: Record) -> None:
            self.heard.append(record.outcome.kind)

        def end(self) -> None:
            self.heard.append("end")

    observer = Listening()
    with pytest.raises(InfrastructureError):
        run_plan(
            cells.plan(tmp_path, 1, 2),
            cells.spec(tmp_path / "run"),
            observer,
            f"{fakes.__name__}:full_disk_at_two_frames",
        )
    assert observer.heard == ["measuring", "ok", "measuring", "end"]


def test_cell_files_hold_what_is_left_to_measure(tmp_path: Path) -> None:
    plan = cells.plan(tmp_path, 1, 2)
    skipped = cells.plan(tmp_path, 4, skip="planted")
    paths = write_cells(Plan(cells=plan.cells + skipped.cells, broken=()), tmp_path / "run")
    assert [read_cell(path) for path in paths] == [cell.job for cell in plan.cells]


RUNNER = """
import sys
from pathlib import Path
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background job ignores it.
from tests.execute import cells, test_run
from harness.execute.process import start_server
start_server(cells.PRELOAD)
folder = Path(sys.argv[1])
print("up", flush=True)
test_run.run(cells.plan(folder, 1, 2, 4, 8), folder, sys.argv[2])
"""


@pytest.mark.parametrize(
    ("signum", "fake"),
    [
        (signal.SIGKILL, "logged_then_slow"),
        (signal.SIGKILL, "logged_then_stuck"),
        (signal.SIGINT, "logged_then_slow"),
    ],
)
def test_a_stopped_run_loses_at_most_the_cell_under_way(
    tmp_path: Path, signum: signal.Signals, fake: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path), fake],
        env=cells.SUBPROCESS_ENV,
        stderr=subprocess.DEVNULL,
    ) as runner:
        try:
            wait_until(lambda: calls(tmp_path) == [1, 2, 4])
            runner.send_signal(signum)
            runner.wait(timeout=120)
        finally:
            runner.kill()
    assert cells.gone(int((tmp_path / "worker").read_text()))
    records, problems = load_records(tmp_path / "run")
    assert sorted(record.key.frames for record in records) == [1, 2]
    assert problems == []
    final = run(cells.plan(tmp_path, 1, 2, 4, 8), tmp_path)
    assert calls(tmp_path) == [1, 2, 4, 4, 8]
    assert {record.outcome.kind for record in final} == {"ok"}
    assert all(record in final for record in records)


def wait_until(condition: object) -> None:
    assert callable(condition)
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")
