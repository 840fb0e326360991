"""Processes beside this one: what they are given comes back, and whatever happens to them is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness import crew
from harness.crew import Crew
from harness.errors import InfrastructureError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def double(value: int) -> tuple[int, int]:
    """Says something, reads what is not for it, and answers with its process."""
    print("between the lines", flush=True)
    assert sys.stdin.read() == ""
    return 2 * value, os.getpid()


def end(status: int) -> None:
    """Leave without a word."""
    os._exit(status)


def group(_: None) -> int:
    """The process group."""
    return os.getpgrp()


def sleep(seconds: float) -> None:
    """Work that takes a while."""
    time.sleep(seconds)


def test_answers_come_back_in_order_from_several_processes() -> None:
    with Crew(double, 2) as two:
        answers = [one.result() for one in [two.submit(value, "a number") for value in range(40)]]
    assert [value for value, _ in answers] == [2 * value for value in range(40)]
    assert 1 <= len({process for _, process in answers} - {os.getpid()}) <= 2


def test_a_crew_of_one_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_start", lambda do: pytest.fail("a process was started"))
    with Crew(group, 1) as one:
        assert one.submit(None, "a group").result() == os.getpgrp()


def test_a_process_that_dies_is_named_with_its_status() -> None:
    with (
        pytest.raises(InfrastructureError, match="at work on figure 3 ended with status 7; what it said"),
        Crew(end, 2) as two,
    ):
        two.submit(7, "figure 3").result()


def test_a_terminal_s_interrupt_reaches_this_process_only() -> None:
    with Crew(group, 2) as two:
        assert two.submit(None, "a group").result() != os.getpgrp()


def interrupted() -> None:
    with Crew(sleep, 2) as two:
        for _ in range(4):
            two.submit(600.0, "a long sleep")
        raise KeyboardInterrupt


def test_an_interrupt_ends_work_that_is_under_way() -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started < 300


def test_files_in_the_working_directory_stand_for_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "pickle", "harness"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    with Crew(double, 2) as two:
        assert two.submit(4, "a number").result()[0] == 8


def test_no_process_outlives_a_killed_caller(tmp_path: Path) -> None:
    script = tmp_path / "calls.py"
    script.write_text(
        "import sys\n"
        "from harness.crew import Crew\n"
        "from tests.test_crew import double\n"
        "with Crew(double, 2) as two:\n"
        "    print(two.submit(1, 'a number').result(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    caller = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert caller.stdin is not None
    assert caller.stdout is not None
    assert caller.stdout.readline().startswith(b"(2, ")
    beside = psutil.Process(caller.pid).children()
    assert len(beside) == 2
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    caller.stdin.close()
    caller.stdout.close()
    assert psutil.wait_procs(beside, timeout=120)[1] == []
