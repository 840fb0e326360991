"""A report is made whatever a run's folder holds; what was left out is listed with its reason."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from harness.counting.store import write_counted
from harness.records import Ok, Record
from harness.report.build import build_report
from harness.report.evidence import Evidence, gather
from harness.store import Store
from tests import counted
from tests.measured import memory_of
from tests.report import hostile, pictures
from tests.report import synthetic as s

PARSER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.leave_out(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run in which every text is hostile."""
    run = tmp_path_factory.mktemp("hostile")
    store = Store(run).open()
    for record in hostile.records():
        store.write(record, hostile.samples(record))
    with pytest.MonkeyPatch.context() as patch:
        pictures.leave_out(patch)
        return build_report(run).parent


def test_nothing_in_a_hostile_report_is_html_or_a_link_of_a_name(folder: Path) -> None:
    rendered = PARSER.render((folder / "report.md").read_text())
    assert {found.lower() for found in re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)", rendered)} <= {
        *("h1", "h2", "h3", "p", "ul", "li", "em", "strong", "table", "thead", "tbody", "tr", "th", "td"),
        *("pre", "code", "details", "summary", "img", "a"),
    }
    targets = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    assert targets
    anchors = [target for target in targets if target.startswith("#")]
    assert all(re.fullmatch(r"#[\w%-]*", anchor) for anchor in anchors)
    assert all((folder / target).exists() for target in targets if target not in anchors)


def test_a_hostile_report_hides_and_turns_nothing(folder: Path) -> None:
    for name in ("report.md", "report.tex"):
        text = (folder / name).read_text()
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069\u200b\ufeff]", text
        )
        assert "[U+202E]" in text.replace("\\allowbreak{}", "")


def test_long_texts_are_shortened_and_whole_in_the_csv(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert "more characters)" in text
    with (folder / "tables" / "failed_cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "w" * 10_000 in {row["reason"] for row in rows}


def test_no_cell_of_any_csv_is_a_formula(folder: Path) -> None:
    for path in [*folder.glob("*.csv"), *folder.glob("tables/*.csv")]:
        with path.open(newline="") as file:
            for row in csv.reader(file):
                for value in row:
                    assert not value.startswith(("=", "@", "\t", "\r")), (path.name, value[:40])
                    assert not value.startswith(("+", "-")) or re.fullmatch(r"-[\d.e+-]+", value), path.name


def test_every_file_is_inside_the_report(folder: Path) -> None:
    assert {path.parent for path in folder.rglob("*") if path.is_file()} == {folder, folder / "tables"}
    assert not list(folder.parent.rglob("pwned"))


def changed(record: Record, change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(record.model_dump_json())
    change(document)
    return json.dumps(document)


def _measures(document: dict[str, Any]) -> dict[str, Any]:
    measures: dict[str, Any] = document["outcome"]["measures"]
    return measures


GOOD = s.record(s.key("vanilla_ca"))
BAD = s.record(s.key("casa"))
TEXT = BAD.model_dump_json()

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "Expecting value"),
    "truncated": (TEXT[: len(TEXT) // 2].encode(), "."),
    "binary": (bytes(range(256)), "utf-8"),
    "a list": (b"[]", "no schema version"),
    "older": (changed(BAD, lambda d: d.update(schema_version=0)).encode(), "schema version"),
    "newer": (changed(BAD, lambda d: d.update(schema_version=99)).encode(), "99 is newer"),
    "unknown field": (changed(BAD, lambda d: d.update(more=1)).encode(), "more"),
    "nested": (b'{"schema_version": 1, "key": ' + b"[" * 100_000, "nested too deeply"),
    "nested settings": (
        TEXT.replace('"gists":2', '"gists":' + "[" * 900 + "]" * 900).encode(),
        "nested too deeply|recursion|holds the cell",
    ),
    "NaN": (changed(BAD, lambda d: _measures(d)["accuracy"].update(mean=float("nan"))).encode(), "NaN"),
    "infinite": (
        changed(BAD, lambda d: _measures(d)["latency"]["prefill"].update(raw_ms=[float("inf")])).encode(),
        "Infinity",
    ),
    "too large": (TEXT.replace('"duration_s":1.5', '"duration_s":1e999').encode(), "1e999"),
    "twice": (TEXT.replace('"duration_s":1.5', '"duration_s":1.5,"duration_s":2').encode(), "more than once"),
    "digits": (TEXT.replace('"batch":16', '"batch":' + "9" * 5000).encode(), "digit"),
    "another cell": (GOOD.model_dump_json().encode(), "it holds the cell"),
    "surrogate": (TEXT.replace('"cpu":"Example', '"cpu":"\\ud800').encode(), "."),
}


def left_out(evidence: Evidence) -> dict[str, str]:
    return {problem.path.name: problem.reason for problem in evidence.problems}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_holds_no_record_is_left_out_with_its_reason(name: str, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    Store(tmp_path).open().write(GOOD, s.samples(GOOD))
    (tmp_path / "records" / f"{BAD.key.digest}.json").write_bytes(content)
    evidence = gather(tmp_path)
    assert list(evidence.cells["method_name"]) == ["vanilla_ca"]
    assert list(left_out(evidence)) == [f"{BAD.key.digest}.json"]
    assert re.search(reason, left_out(evidence)[f"{BAD.key.digest}.json"])


@pytest.mark.usefixtures("undrawn")
def test_broken_files_do_not_keep_a_report_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path).open()
    store.write(GOOD, s.samples(GOOD))
    for index, (content, _) in enumerate(BROKEN.values()):
        (store.records_dir / f"{index:016x}.json").write_bytes(content)
    (store.records_dir / "folder.json").mkdir()
    (store.records_dir / "loop.json").symlink_to(store.records_dir / "loop.json")
    (store.records_dir / "secret.json").write_text(TEXT)
    read = Path.read_text

    def refused(path: Path, *given: Any, **named: Any) -> str:
        if path.name == "secret.json":
            raise PermissionError(13, "Permission denied")
        return read(path, *given, **named)

    monkeypatch.setattr(Path, "read_text", refused)
    text = build_report(tmp_path).read_text()
    listed = text.partition("### Records that are left out")[2]
    for name in ("folder", "loop", "secret", *(f"{index:016x}" for index in range(len(BROKEN)))):
        assert f"| {name}.json |" in listed
    assert "Permission denied" in listed


HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"frames": HUGE}, "frames is about 2^1328"),
        ({"height": 0}, "height is 0"),
        ({"width": -4}, "width is -4"),
        ({"seed": HUGE}, "key.seed is about"),
    ],
)
def test_a_size_that_no_measurement_has_is_left_out(
    change: dict[str, int], reason: str, tmp_path: Path
) -> None:
    record = s.record(s.key("casa", **change), s.failed())
    Store(tmp_path).open().write(record)
    evidence = gather(tmp_path)
    assert len(evidence.cells) == 0
    assert reason in left_out(evidence)[f"{record.key.digest}.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parameters": -1}, "parameters is -1"),
        ({"prefill_flops": HUGE}, "prefill_flops is about"),
        ({"accuracy": s.accuracy(0.5, 40, 7.0)}, "a share outside 0 to 1"),
    ],
)
def test_a_measure_that_no_measurement_gives_is_left_out(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    measures = s.measures(s.key()).model_copy(update=change)
    record = s.record(s.key(), Ok(measures=measures))
    Store(tmp_path).open().write(record)
    assert reason in left_out(gather(tmp_path))[f"{record.key.digest}.json"]


def test_whole_numbers_in_settings_may_be_of_any_size(tmp_path: Path) -> None:
    record = s.record(s.key("other", method_config={"salt": 2**80}), s.failed())
    Store(tmp_path).open().write(record)
    assert len(gather(tmp_path).cells) == 1


SIDECARS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "no gzip": (b"text", "gzip"),
    "truncated": (gzip.compress(b"x" * 1000)[:-9], "gzip"),
    "no answer": (gzip.compress(b"{}\n"), "sample"),
    "no line": (gzip.compress(b""), "0 answers"),
    "binary": (gzip.compress(bytes(range(128, 256))), "."),
    "another's": (
        gzip.compress("\n".join(one.model_dump_json() for one in s.samples(GOOD)).encode()),
        "the mean of its answers",
    ),
    "nothing": (
        gzip.compress(re.sub('"value":[^,]*', '"value":NaN', s.samples(BAD)[0].model_dump_json()).encode()),
        "finite",
    ),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_answers_that_are_not_the_records_are_left_out_and_the_record_stays(
    name: str, tmp_path: Path
) -> None:
    content, reason = SIDECARS[name]
    store = Store(tmp_path).open()
    store.write(BAD, s.samples(BAD))
    path = store.records_dir / f"{BAD.key.digest}.json"
    assert '"samples_sha256": "' in path.read_text()
    # Records of schema 1 do not tell their sidecar by its hash.
    path.write_text(re.sub('"samples_sha256": "[^"]*"', '"samples_sha256": null', path.read_text()))
    store.sidecar(BAD.key.digest).write_bytes(content)
    evidence = gather(tmp_path)
    assert list(evidence.cells["method_name"]) == ["casa"]
    assert evidence.samples == {}
    assert re.search(reason, left_out(evidence)[store.sidecar(BAD.key.digest).name])


@pytest.mark.usefixtures("undrawn")
def test_counted_records_that_are_none_are_left_out_with_their_reason(tmp_path: Path) -> None:
    Store(tmp_path).open()
    (record,) = counted.series({4: counted.WEIGHTS + 10})
    write_counted(tmp_path, [record])
    text = record.model_dump_json()
    folder = tmp_path / "counted"
    (folder / "digest.json").write_text(text)
    (folder / "half.json").write_text(text[:100])
    (folder / "nan.json").write_text(re.sub(r'"cpu_seconds":[^,}]*', '"cpu_seconds":NaN', text))
    (folder / "twice.json").write_text(text.replace("{", '{"schema_version":1,', 1))
    (folder / "newer.json").write_text(text.replace('"schema_version":1', '"schema_version":9', 1))
    (folder / "bytes.json").write_bytes(bytes(range(256)))
    (folder / "empty.json").write_text("")
    (folder / "folder.json").mkdir()
    evidence = gather(tmp_path)
    assert evidence.counted == [record]
    names = {"digest", "half", "nan", "twice", "newer", "bytes", "empty", "folder"}
    assert set(left_out(evidence)) == {f"{name}.json" for name in names}
    assert all(left_out(evidence).values())
    assert "newer.json" in build_report(tmp_path).read_text()


@pytest.mark.usefixtures("undrawn")
def test_no_data_is_shown_as_no_data_and_never_as_zero(tmp_path: Path) -> None:
    cell = s.key("casa")
    full = s.measures(cell)
    latency = full.latency.model_copy(update={"per_frame": None, "per_token": None})
    memory = memory_of(full).model_copy(update={"state_bytes": {}, "host_peak_bytes": None})
    bare: dict[str, Any] = {
        "accuracy": None,
        "by_kind": {},
        "prefill_flops": None,
        "latency": latency,
        "memory": memory,
    }
    record = s.record(cell, Ok(measures=full.model_copy(update=bare)))
    Store(tmp_path).open().write(record)
    folder = build_report(tmp_path).parent
    with (folder / "tables" / "videoqa_cost.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    dashes = {name for name, value in row.items() if value == "\N{EN DASH}"}
    assert dashes == {"state KiB", "per frame ms", "per token ms", "prefill MFLOPs"}
    assert "0" not in row.values()
    with (folder / "cells.csv").open(newline="") as file:
        (measured,) = csv.DictReader(file)
    for name in (
        "accuracy",
        "state_bytes",
        "per_frame_ms",
        "per_token_ms",
        "prefill_flops",
        "host_peak_bytes",
    ):
        assert measured[name] == ""
    line = next(
        line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| casa |")
    )
    assert line.count(" \N{EN DASH} ") == 4
    assert (folder / "tables" / "videoqa_cost.tex").read_text().count(r"\textendash{}") == 4
