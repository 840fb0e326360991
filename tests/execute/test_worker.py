"""The worker as a plain command, as a cluster's scheduler runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import worker
from harness.errors import UsageError
from harness.measure import NonFiniteError
from harness.plan import CellJob
from harness.records import Failed, Ok
from harness.store import Store, load_records
from harness.worker import failure_kind

from . import cells, fakes


def command(cell: Path, out: Path, fake: str) -> subprocess.CompletedProcess[str]:
    measure = ["--measure", f"{fakes.__name__}:{fake}"]
    return subprocess.run(
        [sys.executable, "-m", "harness.worker", "--cell", str(cell), "--out", str(out), *measure],
        env=cells.SUBPROCESS_ENV,
        capture_output=True,
        text=True,
        check=False,
    )


def cell_file(folder: Path) -> Path:
    path = folder / "cell.json"
    path.write_text(cells.job(folder).to_json())
    return path


def test_the_command_writes_the_record(tmp_path: Path) -> None:
    done = command(cell_file(tmp_path), tmp_path / "run", "good")
    store = Store(tmp_path / "run")
    record = store.read(cells.key().digest)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert record is not None
    assert isinstance(record.outcome, Ok)
    assert store.samples(cells.key().digest) == (fakes.sample(),)


def test_a_failing_cell_is_a_record_not_an_error(tmp_path: Path) -> None:
    assert (
        worker.main(
            [
                "--cell",
                str(cell_file(tmp_path)),
                "--out",
                str(tmp_path / "run"),
                "--measure",
                f"{fakes.__name__}:raises",
            ]
        )
        == 0
    )
    records, _ = load_records(tmp_path / "run")
    assert isinstance(records[0].outcome, Failed)


def test_a_cell_file_that_is_none_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("", "[]", '{"key": {}}', "\x00"):
        (tmp_path / "cell.json").write_text(text)
        assert worker.main(["--cell", str(tmp_path / "cell.json"), "--out", str(tmp_path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert worker.main(["--cell", str(tmp_path / "missing"), "--out", str(tmp_path)]) == 2


def test_a_run_folder_that_cannot_be_written_is_infrastructure(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    assert worker.main(["--cell", str(cell_file(tmp_path)), "--out", str(tmp_path / "run")]) == 4


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = cells.job(tmp_path)
    assert CellJob.from_json(job.to_json()) == job
    with pytest.raises(UsageError, match="not a cell file"):
        CellJob.from_json("{}")


def test_the_measuring_codes_own_error_is_known() -> None:
    assert failure_kind(NonFiniteError("planted")) == "non_finite"
    assert failure_kind(RuntimeError("CUDA error: out of memory")) == "out_of_memory"
    assert failure_kind(ValueError("out of memory")) == "error"
