"""The baseline file: provenance, what it refuses to be, and that nothing is overwritten by mistake."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.gate import baseline as module
from harness.gate.baseline import Baseline, read_baseline, write_baseline
from tests.counted import MIB, count_key, environment

from .synthetic import World, linear


def change(world: World, **fields: Any) -> bytes:
    """Change fields of the file; returns its content."""
    document = json.loads(world.baseline.read_text())
    document.update(fields)
    world.baseline.write_text(json.dumps(document))
    return world.baseline.read_bytes()


def test_it_says_where_it_comes_from(green: World) -> None:
    made = read_baseline(green.baseline)
    assert made is not None
    assert made.torch == environment().torch
    assert made.transformers == environment().transformers
    assert made.command == f"harness check --config {green.folder / 'harness.toml'} --update"
    assert made.date.endswith("+00:00")
    assert made.commit is None
    cell = made.cells[count_key(frames=16).digest]
    assert cell.name == "casa · prefill · 16 frames · 64x64"
    assert cell.peak_bytes == 116 * MIB
    assert cell.alive[0].where == "casa.py:10"


def test_it_names_the_commit_of_the_repository_that_it_lies_in(green: World) -> None:
    def git(*arguments: str) -> None:
        options = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *options, *arguments], cwd=green.folder, check=True, capture_output=True)

    git("init")
    git("add", "harness.toml")
    git("commit", "-m", "x")
    green.formulas["casa"] = lambda key: linear(key) + 1
    green.check(update=True)
    made = read_baseline(green.baseline)
    assert made is not None
    assert made.commit is not None
    assert len(made.commit) == 40
    assert made.dirty is False


def test_one_cell_is_one_line(green: World) -> None:
    """So a change of one cell is one line of a diff."""
    before = green.baseline.read_text().splitlines()
    green.formulas["casa"] = lambda key: linear(key) + (key.frames == 4)
    green.check(update=True)
    after = green.baseline.read_text().splitlines()
    changed = [one for one, other in zip(before, after, strict=True) if one != other]
    assert [line for line in changed if "· prefill ·" in line] == [
        line for line in before if "casa · prefill · 4 frames" in line
    ]


def test_an_update_that_changes_nothing_leaves_the_file(green: World) -> None:
    content = change(green, date="2026-01-01T00:00:00+00:00", commit="abc")
    report = green.check(update=True)
    assert not report.written
    assert green.baseline.read_bytes() == content


@pytest.mark.parametrize("keep", [0, 1, 100, 1000, -3])
@pytest.mark.parametrize("update", [False, True])
def test_a_truncated_file_is_refused(green: World, keep: int, update: bool) -> None:
    content = green.baseline.read_bytes()[:keep]
    green.baseline.write_bytes(content)
    with pytest.raises(UsageError, match=r"truncated or no JSON .*restore it from version control") as caught:
        green.check(update=update)
    assert "\n" not in str(caught.value)
    assert green.baseline.read_bytes() == content
    assert green.counted == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, but 1 is the newest known here; install"),
        ({"schema_version": 0}, "schema_version 0, not 1; delete it"),
        ({"schema_version": True}, "schema_version True, not 1"),
        ({"schema_version": None}, "schema_version None, not 1"),
        ({"count_schema": 2}, "count_schema 2"),
        ({"surplus": 1}, "damaged at surplus"),
        ({"cells": {"a": {"name": "x", "peak_bytes": None}}}, "damaged at cells.a"),
        ({"cells": {"a": {"name": "x", "peak_bytes": -1}}}, "damaged at cells.a.peak_bytes"),
        ({"cells": {"a": {"name": "x", "peak_bytes": 1, "failure": "x"}}}, "either peak_bytes or a failure"),
    ],
)
@pytest.mark.parametrize("update", [False, True])
def test_another_schema_is_refused(green: World, fields: dict[str, Any], message: str, update: bool) -> None:
    content = change(green, **fields)
    with pytest.raises(UsageError, match=message):
        green.check(update=update)
    assert green.baseline.read_bytes() == content
    assert green.counted == 0


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"', "[" * 10**5])
def test_other_json_is_refused(green: World, content: str) -> None:
    green.baseline.write_text(content)
    with pytest.raises(UsageError, match=r"no JSON|schema_version None"):
        green.check()


def test_another_torch_is_refused_and_can_be_updated(green: World) -> None:
    content = change(green, torch="1.13.1+cu117")
    with pytest.raises(UsageError, match=r"written with torch 1\.13\.1\+cu117.*--update"):
        green.check()
    assert green.counted == 0
    assert green.baseline.read_bytes() == content
    assert green.check(update=True).written


def test_another_build_of_the_same_torch_compares(green: World) -> None:
    change(green, torch=environment().torch.partition("+")[0] + "+cu130")
    assert green.check().exit_code == 0


def test_another_transformers_is_noted(green: World) -> None:
    change(green, transformers="4.0")
    assert any("written with transformers 4.0" in note for note in green.check().notes)


def test_a_folder_in_the_way_is_answered(green: World) -> None:
    made = read_baseline(green.baseline)
    assert made is not None
    with pytest.raises(InfrastructureError, match="cannot write the baseline"):
        write_baseline(green.folder, made)
    with pytest.raises(UsageError, match="cannot be read"):
        read_baseline(green.folder)


def test_a_failed_write_keeps_the_old_file(green: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    before = green.baseline.read_bytes()
    monkeypatch.setattr(module, "replace_file", full)
    green.formulas["casa"] = lambda key: linear(key) + 1
    with pytest.raises(InfrastructureError, match="No space left"):
        green.check(update=True)
    assert green.baseline.read_bytes() == before


def test_hostile_text_survives(tmp_path: Path, green: World) -> None:
    made = read_baseline(green.baseline)
    assert made is not None
    hostile = made.model_copy(update={"command": 'a"b\n\x00é\u2028{}', "date": "x"})
    path = tmp_path / "new" / "b.json"
    write_baseline(path, hostile)
    assert read_baseline(path) == hostile
    assert isinstance(hostile, Baseline)


def test_a_path_that_cannot_be(green: World) -> None:
    green.write('baseline = "a\\u0000b"')
    with pytest.raises(UsageError, match="cannot be read"):
        green.check()
