"""`docs/adding_a_task.md` does what it says: its commands run, its code and its message are real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.cli.new import write_new
from harness.testing import TaskPropertyError, check_task

from .pages import Page, printed

PAGE = Page("adding_a_task.md")
LIMITED = "self.config.clips if view.limit is None else min(view.limit, self.config.clips)"


@pytest.mark.slow
def test_commands_lead_from_an_empty_folder_to_a_report(tmp_path: Path) -> None:
    output = [printed(commands, tmp_path) for commands in PAGE.of("sh")]
    assert "  my_task  TODO" in output[0]
    assert "report: results/my_task/report/report.html" in output[1]
    assert "first" in output[2]


def test_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (checks,) = PAGE.of("python")
    exec(compile(checks, "adding_a_task.md", "exec"), {})
    assert "limit: a limit takes the first samples" in capsys.readouterr().out


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    known = registry.tasks.names()
    file, _ = write_new("task", "my_task", tmp_path)
    yield file
    registry.tasks.keep(known)


def test_the_failure_shown_is_the_one_that_comes(path: Path) -> None:
    text = path.read_text()
    assert text.count(LIMITED) == 1
    path.write_text(text.replace(LIMITED, "self.config.clips"))
    assert registry.require([path]) == []
    cls = registry.tasks.get("my_task")
    with pytest.raises(TaskPropertyError) as caught:
        check_task(cls)
    assert [f"{caught.value}\n"] == PAGE.of("text")
