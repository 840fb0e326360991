"""Watching a run: a report per change, never half of one, and an end that is no failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.files import ABANDONED_S
from harness.report import watch as watching
from harness.report.build import build_report
from harness.report.watch import refresh, state, watch
from harness.store import Store
from tests.execute import cells, fakes
from tests.report import pictures

Step = Callable[[], object]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.leave_out(monkeypatch)


def followed(run: Path, *steps: Step, out: Path | None = None) -> list[str]:
    """What is said when the steps happen between the looks, without the times."""
    said: list[str] = []
    left = list(steps)

    def sleep() -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    with pytest.raises(KeyboardInterrupt):
        watch(run, out, said.append, sleep)
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in said)
    return [line[10:] for line in said]


def nothing() -> None:
    pass


def test_a_run_is_waited_for_and_reported_once_per_change(tmp_path: Path) -> None:
    run = tmp_path / "run"
    store = Store(run)

    def first() -> None:
        store.open().write(cells.record(1), (fakes.sample(),))

    said = followed(run, nothing, first, nothing, lambda: store.write(cells.record(2, cells.FAILED)), nothing)
    path = run / "report" / "report.html"
    assert said == [
        f"waiting for records in {str(run)!r}",
        f"1 cell (1 measured): {path}",
        f"2 cells (1 measured, 1 failed): {path}",
    ]
    assert "counting" in path.with_name("report.md").read_text()


def test_a_half_written_file_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "run").open()
    store.write(cells.record(1), (fakes.sample(),))
    path = store.records_dir / f"{cells.key(2).digest}.json"
    (store.records_dir / ".tmp-half").write_text("{")
    before = state(store.root)

    def half() -> None:
        path.write_text("{")

    out = tmp_path / "reports" / "here"
    said = followed(store.root, half, lambda: store.write(cells.record(2), (fakes.sample(),)), out=out)
    assert before is not None
    assert len(before) == 2
    assert [line.partition(":")[0] for line in said] == [
        "1 cell (1 measured)",
        "1 cell (1 measured), 1 file(s) left out",
        "2 cells (2 measured)",
    ]
    assert not [path.name for path in out.parent.iterdir() if path != out]


def test_what_stands_in_the_way_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).open().write(cells.record(1), (fakes.sample(),))
    real = build_report

    def full(run_dir: Path, out: Path | None = None) -> Path:
        raise InfrastructureError("the disk is full")

    monkeypatch.setattr(watching, "build_report", full)
    said = followed(tmp_path, nothing, nothing, lambda: monkeypatch.setattr(watching, "build_report", real))
    assert said[0] == "no report: the disk is full"
    assert said[1].startswith("1 cell")
    assert len(said) == 2


def test_an_interrupt_while_files_are_put_in_place_comes_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path).open()
    store.write(cells.record(1), (fakes.sample(),))
    folder = tmp_path / "report"
    refresh(tmp_path, folder)
    store.write(cells.record(2), (fakes.sample(),))
    rename = os.replace
    interrupted: list[Path] = []

    def interrupting(source: Path, target: Path) -> None:
        if Path(target).parent == folder and not interrupted:
            interrupted.append(target)
            os.kill(os.getpid(), signal.SIGINT)
        rename(source, target)

    monkeypatch.setattr(os, "replace", interrupting)
    with pytest.raises(KeyboardInterrupt):
        refresh(tmp_path, folder)
    assert interrupted
    rows = (folder / "cells.csv").read_text().splitlines()
    assert len(rows) == 3
    assert not list(tmp_path.glob(".tmp-*"))
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_what_a_killed_watcher_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".tmp-report-abc"
    left.mkdir()
    (left / "report.md").write_text("half")
    os.utime(left, (0, 0))
    assert ABANDONED_S > 0
    followed(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "report", str(tmp_path / "run"), "--watch", "--every", "0.05"],
        env=cells.SUBPROCESS_ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "waiting for records in" in first
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "stopped watching\n")
