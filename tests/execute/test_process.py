"""Whatever happens to a cell's process is data about that cell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.execute import process
from harness.execute.process import Ending, run_in_process, start_server
from harness.records import Failed, FailureKind, Ok
from harness.store import Store

from . import cells, fakes


@pytest.fixture(autouse=True, scope="module")
def _server() -> None:
    start_server(cells.PRELOAD)


def run(folder: Path, fake: str, timeout_s: float = 30.0, stages: list[str] | None = None) -> Ending:
    Store(folder / "run").open()
    said = stages if stages is not None else []
    name = f"{fakes.__name__}:{fake}"
    return run_in_process(cells.job(folder), folder / "run", name, timeout_s, said.append)


def test_a_good_cell_writes_its_record_and_says_what_it_does(tmp_path: Path) -> None:
    stages: list[str] = []
    ending = run(tmp_path, "good", stages=stages)
    record = Store(tmp_path / "run").read(cells.key().digest)
    assert ending.failed is None
    assert stages == ["measuring"]
    assert record is not None
    assert isinstance(record.outcome, Ok)
    assert record.environment == ending.environment


@pytest.mark.parametrize(
    ("fake", "kind", "message"),
    [
        ("no_memory", "out_of_memory", "planted"),
        ("no_memory_torch", "out_of_memory", "can't allocate memory"),
        ("not_finite", "non_finite", "layer 2"),
        ("raises", "error", r"KeyError at tests/execute/fakes\.py:\d+: 'planted'"),
        ("unspeakable", "error", r"UnspeakableError at .*: \(its text cannot be made\)"),
        ("lone_surrogate", "error", r"ValueError at .*: planted \\udcff"),
        ("says_nothing", "out_of_memory", "MemoryError"),
        ("nan_measures", "error", "unusable measures: "),
    ],
)
def test_an_exception_is_recorded_by_the_worker(
    tmp_path: Path, fake: str, kind: FailureKind, message: str
) -> None:
    ending = run(tmp_path, fake)
    record = Store(tmp_path / "run").read(cells.key().digest)
    assert ending.failed is None
    assert record is not None
    assert isinstance(record.outcome, Failed)
    assert record.outcome.failure == kind
    assert re.search(message, record.outcome.message)
    assert fake == "nan_measures" or f"in {fake}" in (record.outcome.traceback or "")


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        ("segfault", "killed by SIGSEGV during 'about to crash'"),
        ("killed", "killed by SIGKILL"),
        ("leaves", "exit status 7"),
    ],
)
def test_a_crash_is_told_by_the_parent(tmp_path: Path, fake: str, message: str) -> None:
    ending = run(tmp_path, fake)
    assert ending.failed is not None
    assert ending.failed.failure == "crash"
    assert message in ending.failed.message
    assert ending.environment is not None


def test_a_cell_for_a_gpu_starts_afresh(tmp_path: Path) -> None:
    job = cells.job(tmp_path, device="cuda")
    Store(tmp_path / "run").open()
    stages: list[str] = []
    ending = run_in_process(job, tmp_path / "run", f"{fakes.__name__}:parent", 60.0, stages.append)
    assert ending.failed is None
    assert stages == [str(os.getpid())]


def test_a_crash_keeps_the_last_words(tmp_path: Path) -> None:
    failed = run(tmp_path, "segfault").failed
    assert failed is not None
    assert failed.traceback == "last words"


def test_a_kill_by_the_kernel_is_a_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter((3, 4))
    monkeypatch.setattr(process, "oom_kills", lambda: next(counts))
    failed = run(tmp_path, "killed").failed
    assert failed is not None
    assert failed.failure == "out_of_memory"


def test_a_hang_is_a_timeout_and_leaves_no_process(tmp_path: Path) -> None:
    failed = run(tmp_path, "hangs", timeout_s=1.5).failed
    child = int((tmp_path / "child").read_text())
    assert failed is not None
    assert failed.failure == "timeout"
    assert "1.5 s" in failed.message
    assert "'hanging'" in failed.message
    assert cells.gone(child)


@pytest.mark.parametrize("fake", ["full_cache", "full_disk_at_two_frames"])
def test_a_full_disk_ends_the_run(tmp_path: Path, fake: str) -> None:
    Store(tmp_path / "run").open()
    with pytest.raises(InfrastructureError, match="the disk is full"):
        run_in_process(
            cells.job(tmp_path, 2), tmp_path / "run", f"{fakes.__name__}:{fake}", 30.0, lambda text: None
        )


def test_an_interrupt_takes_the_process_along(tmp_path: Path) -> None:
    def interrupt(stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(cells.job(tmp_path), tmp_path, f"{fakes.__name__}:hangs", 30.0, interrupt)
    assert cells.gone(int((tmp_path / "child").read_text()))


def test_the_callers_script_is_not_run_again(tmp_path: Path) -> None:
    """A script without a main guard that measures a cell measures it once."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tests.execute import test_process\n"
        "from harness.execute.process import start_server\n"
        "print('script runs')\n"
        "start_server(())\n"
        f"print(test_process.run(Path({str(tmp_path)!r}), 'good').failed)\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=cells.SUBPROCESS_ENV, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["script runs", "None"], done.stderr


def test_the_fork_server_loads_what_a_cell_needs() -> None:
    code = "from harness.execute import preload; preload.load()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fork_server_is_told_which_families_of_tasks_to_load_for(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from harness.execute.process import WARM, start_server\n"
        "from harness.spec import TaskSpec\n"
        "from harness.store import Store\n"
        "from tests.execute import cells, test_process\n"
        "start_server(cells.PRELOAD, tasks=[TaskSpec(name) for name in ('b:one', 'videoqa', 'a:x', 'b:y')])\n"
        f"test_process.run(Path({str(tmp_path)!r}), 'families')\n"
        f"record = Store(Path({str(tmp_path / 'run')!r})).read(cells.key().digest)\n"
        "print(record.outcome.message, WARM in os.environ)\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=cells.SUBPROCESS_ENV, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith(": 'a,b' False\n"), done.stderr


def test_families_are_warmed_where_cells_start() -> None:
    code = (
        "import os, types\n"
        "from harness.execute.process import WARM\n"
        "os.environ[WARM] = 'planted,other'\n"
        "from harness import registry\n"
        "for name in ('planted', 'other'):\n"
        "    family = types.SimpleNamespace(summary='', warm=lambda name=name: print('warm', name))\n"
        "    registry.tasks.add_family(name, family, 'here')\n"
        "from harness.execute import preload\n"
        "print(WARM in os.environ)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "warm planted\nwarm other\nFalse\n", done.stderr


def test_the_kernels_kill_count_is_read() -> None:
    assert process.oom_kills() >= 0
