from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from harness.errors import InfrastructureError, UsageError
from harness.records import Record, Skipped
from harness.report.build import build_report
from harness.report.canvas import Drawing
from harness.report.document import Table
from harness.report.made import NotMadeWarning
from harness.report.render import drawing
from harness.report.sections import task
from harness.store import Store
from tests.report import pictures
from tests.report import synthetic as s


def store(folder: Path, records: list[Record]) -> Path:
    written = Store(folder).open()
    for one in records:
        written.write(one, s.samples(one))
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_has_text_tables_and_every_figure_that_it_names(tmp_path: Path) -> None:
    records = s.run(frames=(1, 4), seeds=(0, 1))
    path = build_report(store(tmp_path, records))
    assert path == tmp_path / "report" / "report.md"
    text = path.read_text()
    named = re.findall(r"\]\(([^)#]+)\)", text)
    files = {str(file.relative_to(path.parent)) for file in path.parent.rglob("*") if file != path}
    assert set(named) | {"report.html"} == files
    for name in ("by_frames", "by_kind"):
        assert {f"videoqa_{name}.{kind}" for kind in ("png", "svg")} < files
    assert "harness eval --task videoqa" in text
    assert "2.13.0+cpu" in text
    assert len(read_csv(path.parent / "cells.csv")) == len(records)
    assert {row["clips"] for row in read_csv(path.parent / "cells.csv") if row["outcome"] == "ok"} == {"10"}
    points = read_csv(path.parent / "points.csv")
    assert {(row["task"], row["method"]) for row in points} == {("videoqa", name) for name in s.SKILL}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the slow part where a test is about something else."""
    pictures.leave_out(monkeypatch)


def test_a_store_without_one_measured_cell_still_gives_a_report(tmp_path: Path) -> None:
    records = [
        s.record(s.key(), s.failed("crash")),
        s.record(s.key("vanilla_ca"), Skipped(reason="no weights")),
    ]
    text = build_report(store(tmp_path, records)).read_text()
    assert "None of the 2 cells was measured" in text
    assert "crash while measuring" in text
    assert "Accuracy with its" not in text
    assert "Peak memory of the prefill" not in text
    assert "no weights" in text
    assert list((tmp_path / "report").glob("*.png")) == []


def test_an_empty_store_still_gives_a_report(tmp_path: Path) -> None:
    assert "no records" in build_report(store(tmp_path, [])).read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_single_record_gives_a_whole_report(tmp_path: Path) -> None:
    text = build_report(store(tmp_path, [s.record(s.key())]), tmp_path / "elsewhere").read_text()
    assert "![Accuracy, peak memory and times of single cells against frames](videoqa_by_frames.png)" in text
    assert "by_resolution" not in text


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_loaded_is_listed(tmp_path: Path) -> None:
    record = s.record(s.key())
    store(tmp_path, [record])
    (tmp_path / "records" / "broken.json").write_text("{")
    (tmp_path / "samples" / f"{record.key.digest}.jsonl.gz").write_text("no gzip\n")
    text = build_report(tmp_path).read_text()
    listed = text.partition("### Records that are left out")[2]
    assert "broken.json" in listed
    assert "the answers to single questions cannot be read" in listed


@pytest.mark.usefixtures("undrawn")
def test_tasks_and_settings_have_sections_and_files_of_their_own(tmp_path: Path) -> None:
    keys = [s.key(), s.key(task="multi image/2"), s.key(task_version=2)]
    text = build_report(store(tmp_path, [s.record(key) for key in keys])).read_text()
    assert re.findall("^## (.*)", text, flags=re.MULTILINE)[1:5] == [
        "Models and tasks",
        "multi image/2",
        "videoqa (1)",
        "videoqa (2)",
    ]
    names = {file.name for file in (tmp_path / "report").glob("*_by_frames.png")}
    assert names == {"multi_image_2_by_frames.png", "videoqa_by_frames.png", "videoqa-2_by_frames.png"}


@pytest.mark.usefixtures("undrawn")
def test_environments_that_differ_are_said_to(tmp_path: Path) -> None:
    records = [s.record(s.key()), s.record(s.key(frames=1), env=s.environment(torch="2.11.0"))]
    text = build_report(store(tmp_path, records)).read_text()
    assert "The cells come from 2 environments" in text
    assert "| torch | 2.13.0+cpu | 2.11.0 |" in text or "| torch | 2.11.0 | 2.13.0+cpu |" in text


def test_hostile_names_reach_neither_markup_nor_spreadsheet_nor_paths(tmp_path: Path) -> None:
    evil = "=HYPERLINK(1)|<img src=x>`$"
    records = [s.record(s.key(evil, task="../../" + evil)), s.record(s.key("casa"), s.failed())]
    text = build_report(store(tmp_path, records)).read_text()
    assert "<img src=x" not in MarkdownIt("commonmark").enable("table").render(text)
    assert {row["method"] for row in read_csv(tmp_path / "report" / "cells.csv")} == {"'" + evil, "casa"}
    assert all(file.parent == tmp_path / "report" for file in tmp_path.rglob("*.png"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="records"):
        build_report(tmp_path)


def test_an_older_report_stays_when_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_report(store(tmp_path, [s.record(s.key(), s.failed())]))
    before = path.read_text()
    store(tmp_path, [s.record(s.key(frames=1), s.failed())])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        InfrastructureError, match="No space left on device; make room or choose another folder"
    ):
        build_report(tmp_path)
    assert path.read_text() == before
    assert [file for file in path.parent.iterdir() if file.name.startswith(".tmp-")] == []


def test_the_text_is_put_in_place_after_the_figures_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    put = os.replace

    def replace(source: Path, target: Path) -> None:
        order.append(target.name)
        put(source, target)

    store(tmp_path, [s.record(s.key(), s.failed())])
    monkeypatch.setattr(os, "replace", replace)
    build_report(tmp_path)
    assert order == [
        *("cells.csv", "kinds.csv", "points.csv", "report.html"),
        *("failed_cells.csv", "environments.csv", "failed_cells.tex", "environments.tex"),
        *("report.tex", "report.md"),
    ]


def test_tables_of_an_older_report_go_and_other_files_stay(tmp_path: Path) -> None:
    store(tmp_path, [s.record(s.key(), s.failed()), s.record(s.key(frames=1), Skipped(reason="none"))])
    tables = build_report(tmp_path).parent / "tables"
    assert {path.name for path in tables.iterdir()} >= {"skipped_cells.tex", "skipped_cells.csv"}
    for name in ("mine.tex", "mine.csv"):
        (tables / name).write_text("by hand")
    Store(tmp_path).remove(s.key(frames=1).digest)
    build_report(tmp_path)
    names = {path.name for path in tables.iterdir()}
    assert names == {
        f"{name}.{end}" for name in ("mine", "failed_cells", "environments") for end in ("tex", "csv")
    }


def test_a_figure_that_cannot_be_drawn_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Drawing:
        raise ArithmeticError("no such axis")

    monkeypatch.setattr(drawing, "picture", broken)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    store(tmp_path, [s.record(s.key())])
    with pytest.warns(NotMadeWarning):
        folder = build_report(tmp_path).parent
    text = (folder / "report.md").read_text()
    assert "**The figure videoqa_by_frames could not be made (ArithmeticError: no such axis).**" in text
    assert "Accuracy with its 95 % interval" in text
    assert "includegraphics" not in (folder / "report.tex").read_text()
    assert list(folder.glob("*.png")) == []


@pytest.mark.usefixtures("undrawn")
def test_a_table_that_cannot_be_made_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Table:
        raise KeyError("peak_bytes")

    monkeypatch.setattr(task, "cost_table", broken)
    store(tmp_path, [s.record(s.key())])
    with pytest.warns(NotMadeWarning):
        text = build_report(tmp_path).read_text()
    assert "**The table of costs could not be made (KeyError: 'peak_bytes').**" in text
    assert "Accuracy with its 95 % interval" in text


@pytest.mark.usefixtures("undrawn")
def test_a_fault_is_not_hidden_where_warnings_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Table:
        raise KeyError("peak_bytes")

    monkeypatch.setattr(task, "cost_table", broken)
    with pytest.raises(NotMadeWarning, match="peak_bytes"):
        build_report(store(tmp_path, [s.record(s.key())]))


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    run = store(tmp_path / "run", [])
    (tmp_path / "taken").write_text("")
    with pytest.raises(InfrastructureError, match="taken"):
        build_report(run, tmp_path / "taken")
