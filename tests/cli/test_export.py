"""`harness export` and what commands show while they work."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.cli.errors import progress_line
from harness.store import Store
from tests.cli.test_display import Terminal
from tests.report import pictures
from tests.report import synthetic as s

ROOT = Path(__file__).parents[2]


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    store = Store(tmp_path / "run").open()
    for seed in (0, 1):
        record = s.record(s.key(seed=seed))
        store.write(record, s.samples(record))
    store.write(s.record(s.key("vanilla_ca"), s.failed()))
    return store.root


def test_csv_goes_to_standard_output(run: Path) -> None:
    done = export(run, "--method", "casa", "--seed", "1")
    assert done.exit_code == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["method_name"], row["seed"], row["frames"]) == ("casa", "1", "8")
    assert done.stderr == ""


def test_conditions_can_be_given_again(run: Path) -> None:
    done = export(run, "--where", "outcome=ok", "--where", "seed=0,1", "--where", "failure=")
    assert done.exit_code == 0, done.stderr
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 2


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_file_is_replaced_whole(run: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"a.{suffix}"
    assert export(run, "--out", out, "--outcome", "ok").exit_code == 0
    done = export(run, "--out", out)
    assert done.stdout == f"export: {out} (3 rows of cells)\n"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM '{out}'").fetchall() == [(3,)]


def test_nothing_to_export_is_no_success_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    done = export(run, "--outcome", "skipped", "--out", out)
    assert done.exit_code == 3
    assert done.stderr.startswith("error: nothing to export: no row of cells in")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "a.xlsx"), "'a.xlsx' has no known form; end it in .parquet, .csv, .jsonl"),
        (("--table", "cell"), "unknown table 'cell': did you mean 'cells'?"),
        (("--where", "sed=1"), "unknown column 'sed': did you mean 'seed'"),
        (("--method", "cassa"), "unknown method 'cassa': did you mean 'casa'?"),
    ],
)
def test_what_cannot_be_used_is_one_line(run: Path, arguments: tuple[str, ...], message: str) -> None:
    done = export(run, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_loaded_is_named_and_counted(run: Path) -> None:
    (run / "records" / "half.json").write_text("{")
    done = export(run)
    assert done.exit_code == 0
    assert f"left out: {run / 'records' / 'half.json'}: " in done.stderr
    assert "warning: 1 file(s) left out" in done.stderr


def test_a_file_that_cannot_be_written_is_infrastructure(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert export(run, "--out", tmp_path / "file" / "a.csv").exit_code == 4
    (tmp_path / "a.csv").write_text("earlier")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = export(run, "--out", tmp_path / "a.csv")
    assert done.exit_code == 4
    assert "the disk is full" in done.stderr
    assert (tmp_path / "a.csv").read_text() == "earlier"
    assert not list(tmp_path.glob(".tmp-*"))


def test_report_says_what_it_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    pictures.leave_out(monkeypatch)
    (run / "records" / "half.json").write_text("{")
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: 1 file(s) left out, which the report lists; the first is")
    assert done.stderr.count("\n") == 1


def test_report_of_failed_cells_only_ends_with_3(tmp_path: Path) -> None:
    Store(tmp_path).open().write(s.record(s.key(), s.failed()))
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 3
    assert (tmp_path / "report" / "report.md").is_file()


@pytest.mark.parametrize("every", ["0", "-1", "inf", "nan"])
def test_watching_needs_a_time_between_looks(tmp_path: Path, every: str) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--watch", "--every", every])
    assert done.exit_code == 2
    assert "give a number of seconds above 0" in done.stderr


def test_progress_is_one_line_on_a_terminal_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    with progress_line(stream) as show:
        show("counting\nsomething that is longer than the terminal")
    assert stream.getvalue() == "\r\033[Kcounting something \r\r\033[K"
    plain, quiet = io.StringIO(), Terminal()
    for silent, shown in ((plain, {}), (quiet, {"quiet": True})):
        with progress_line(silent, **shown) as show:
            show("counting")
        assert silent.getvalue() == ""


def test_the_readmes_query_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text()
    found = re.search(r'^harness export (\S+) --out (\S+)\nduckdb -c "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    assert export(run, "--out", found[2]).exit_code == 0
    with duckdb.connect() as connection:
        rows = connection.execute(found[3]).fetchall()
    assert [row[0].partition(":")[0] for row in rows] == ["casa"]
