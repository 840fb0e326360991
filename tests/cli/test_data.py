"""``--data`` and tasks of lmms-eval on the command line, where lmms-eval is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import registry
from harness.cli import app
from harness.errors import UsageError
from harness.lmms import catalogue
from harness.plan import plan_tasks
from harness.settings import place
from harness.spec import TaskSpec
from harness.task import TaskConfig
from tests.measure.pictures import Pictures


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


@dataclass(frozen=True, kw_only=True)
class Located(TaskConfig):
    data: str = place()


class Needing(Pictures):
    Config = Located


@pytest.fixture
def needing(tmp_path: Path) -> Iterator[Path]:
    """Two tasks that are told where their data lies, and a folder for it."""
    registry.discover()
    known = registry.tasks.names()
    for name in ("first", "second"):
        registry.tasks.add(name, Needing, __name__)
    yield tmp_path
    registry.tasks.keep(known)


def places(data: Path, *tasks: str) -> list[str]:
    planned = plan_tasks([TaskSpec.parse(task) for task in tasks], data, [])
    return [task.places["data"] for task in planned]


def test_each_task_takes_the_folder_of_its_name_else_all_the_same(needing: Path) -> None:
    assert places(needing, "first", "second") == [str(needing)] * 2
    for name in ("first", "second"):
        (needing / name).mkdir()
    assert places(needing, "first", "second") == [str(needing / "first"), str(needing / "second")]
    assert places(needing, "second") == [str(needing / "second")]


def test_a_folder_that_only_some_tasks_have_is_a_mistake(needing: Path) -> None:
    (needing / "first").mkdir()
    with pytest.raises(UsageError, match=r"but no folder 'second' for second; name its folder so, or give"):
        places(needing, "first", "second")
    assert places(needing, "first", "second:data=elsewhere") == [str(needing / "first"), "elsewhere"]
