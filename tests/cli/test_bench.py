"""``harness bench``: the table, JSON, records on disk, and what ends it otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness import registry
from harness.cli import app
from harness.counting.records import COUNT_SCHEMA, CountRecord
from harness.counting.store import FOLDER, load_counted

from ..counting.plugins import FIRST, planted

SMALL = ("--methods", "vanilla_ca,token_insertion", "--frames", "1,2", "--resolution", "32")


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture
def forget() -> Iterator[None]:
    """Plugins of the test are forgotten after it."""
    registry.discover()
    known = list(registry.methods)
    yield
    registry.methods.keep(known)


def test_the_table_has_a_row_per_scenario() -> None:
    done = bench(*SMALL, "--mode", "prefill,decode")
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if "32x32" in line]
    assert len(rows) == 8
    assert [row.replace("|", " ").split()[:3] for row in rows[:4]] == [
        ["vanilla_ca", "prefill", "1"],
        ["vanilla_ca", "prefill", "2"],
        ["vanilla_ca", "decode", "1"],
        ["vanilla_ca", "decode", "2"],
    ]
    assert all("MiB" in row and "varlen/flash" in row for row in rows)
    assert done.stderr == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder of records, and the same as JSON."""
    out = tmp_path_factory.mktemp("bench") / "new" / "run"
    done = bench(*SMALL, "--json", "--out", out)
    assert done.exit_code == 0, done.output
    document: list[dict[str, Any]] = json.loads(done.stdout)
    return out, document


def test_records_load_again_as_they_were_told(run: tuple[Path, list[dict[str, Any]]]) -> None:
    out, document = run
    records, problems = load_counted(out)
    assert problems == []
    assert [(r.key.method, r.key.frames) for r in records] == [
        (method, frames) for method in ("token_insertion", "vanilla_ca") for frames in (1, 2)
    ]
    by_digest = {one.pop("digest"): one for one in map(dict, document)}
    assert {r.key.digest: r.model_dump(mode="json") for r in records} == by_digest
    assert all(r.peak is not None and r.schema_version == COUNT_SCHEMA for r in records)


def spoilt(text: str) -> dict[str, bytes]:
    """A record's text, changed so that it is none."""
    document = json.loads(text)
    return {
        "truncated": text[: len(text) // 2].encode(),
        "empty": b"",
        "foreign": b'{"schema_version": 1, "cells": []}',
        "list": b"[]",
        "newer": json.dumps({**document, "schema_version": COUNT_SCHEMA + 1}).encode(),
        "unknown field": json.dumps({**document, "note": "mine"}).encode(),
        "binary": b"\xff\xfe\x00",
    }


def test_files_that_hold_no_record_are_problems(
    run: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    source = next(iter(sorted((run[0] / FOLDER).glob("*.json"))))
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / source.name).write_bytes(source.read_bytes())
    cases = spoilt(source.read_text())
    for name, content in cases.items():
        (folder / f"{name}.json").write_bytes(content)
    (folder / "a folder.json").mkdir()
    records, problems = load_counted(tmp_path)
    assert [record.key.digest for record in records] == [source.stem]
    assert {problem.path.stem for problem in problems} == {*cases, "a folder"}
    assert all("\n" not in problem.reason and problem.reason for problem in problems)
    assert any("schema" in problem.reason for problem in problems if problem.path.stem == "newer")


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert load_counted(tmp_path / "nowhere") == ([], [])


@pytest.mark.parametrize(("arguments", "message"), [
    (("--frames", "2,1"), "frames 2,1 do not rise"),
    (("--frames", "0"), "frames 0 is not usable"),
    (("--frames", "few"), "frames 'few' is not a whole number"),
    (("--backbone", "helium1-3b"), "unknown backbone 'helium1-3b': did you mean 'helium1-2b'"),
    (("--backbone", "helium1-2b", "--resolution", "225"), "multiples of 28"),
    (("--methods", "cassa"), "unknown method 'cassa': did you mean 'casa'"),
    (("--mode", "prefil"), "unknown mode 'prefil'"),
    (("--memory", "cuda"), "unknown memory 'cuda': give counted"),
    (("--kernels", "rocm"), "unknown kernels 'rocm'"),
])  # fmt: skip
def test_what_cannot_be_used_has_status_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = bench(*arguments, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("forget")
def test_nothing_counted_has_status_3_and_says_why_once(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(planted("raise ValueError('planted')"))
    done = bench("--plugin", plugin, "--methods", "planted", "--frames", "1,2", "--out", tmp_path / "run")
    assert done.exit_code == 3
    reasons, last = done.stderr.splitlines()
    assert reasons == f"not counted: planted: ValueError at {plugin}:{FIRST}: planted"
    assert "none of the 2 scenarios was counted" in last
    assert done.stdout.count("not counted") == 2
    records, problems = load_counted(tmp_path / "run")
    assert ([record.peak for record in records], problems) == ([None, None], [])


@pytest.mark.usefixtures("forget")
def test_a_method_that_needs_values_is_said_to_have_been_counted_on_real_tensors(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(planted("y.sum().item()"))
    done = bench("--plugin", plugin, "--methods", "planted", "--frames", "1", "--json")
    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"planted was counted on real tensors: {plugin}:{FIRST} needs the values")
    (document,) = json.loads(done.stdout)
    document.pop("digest")
    peak = CountRecord.model_validate(document).peak
    assert peak is not None
    assert peak.substrate == "cpu"
