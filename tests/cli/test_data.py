"""``--data`` and tasks of lmms-eval on the command line, where lmms-eval is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.lmms import catalogue


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_without_lmms_eval_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(catalogue, "DISTRIBUTION", "lmms_eval_is_not_here")
    done = run("--task", "lmms:no_such_task", "--out", tmp_path)
    assert done.exit_code == 4
    (line,) = done.stderr.splitlines()
    assert "`make lmms`" in line
    assert f"lmms-eval=={catalogue.PINNED}" in line


def test_data_for_a_task_that_makes_its_own_is_refused(tmp_path: Path) -> None:
    done = run("--task", "videoqa", "--data", tmp_path, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "but videoqa makes its own data; leave it out" in done.stderr


def test_families_are_listed() -> None:
    done = CliRunner().invoke(app, ["list", "tasks"])
    assert "lmms:NAME  the tasks of an installed lmms-eval" in done.output
