"""``harness new``: what it writes works, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import registry
from harness.cli import app
from harness.testing import check_fusion_method, check_task

ROOT = Path(__file__).parents[2]


def new(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["new", *map(str, arguments)])


def check(folder: Path, *command: object) -> None:
    """Run a Python module in a folder; its output is the failure's message."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fusion", "task"])
def test_what_is_written_passes_its_own_test(tmp_path: Path, kind: str) -> None:
    assert new(kind, "mine", "--out", tmp_path).exit_code == 0
    check(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fusion", "task"])
@pytest.mark.parametrize("name", ["f", "a" * 40])
def test_what_is_written_is_clean(tmp_path: Path, name: str, kind: str) -> None:
    assert new(kind, name, "--out", tmp_path).exit_code == 0
    files = f"{name}.py", f"test_{name}.py"
    settings = "--config", ROOT / "pyproject.toml"
    # Where an import of the method itself is sorted depends on the folder that the file ends up in.
    check(tmp_path, "ruff", "check", "--no-cache", *settings, "--ignore", "I001", *files)
    check(tmp_path, "ruff", "format", "--no-cache", "--check", *settings, *files)
    # From the root and with its settings, what the harness is known to be need not be found out again.
    check(ROOT, "mypy", *(tmp_path / file for file in files))


@pytest.mark.parametrize("name", ["keys", "visible", "fusion", "key_values", "none"])
def test_a_class_of_the_files_own_imports_is_not_hidden(tmp_path: Path, name: str) -> None:
    assert new("fusion", name, "--out", tmp_path).exit_code == 0
    known = list(registry.methods)
    assert registry.discover([tmp_path / f"{name}.py"]) == []
    try:
        checked = check_fusion_method(name, properties=["streaming"], backbones=["qwen3"], streams=1)
        assert checked == ("streaming",)
    finally:
        registry.methods.keep(known)


@pytest.mark.parametrize("name", ["task", "view", "pixels", "example", "colours", "none"])
def test_a_class_of_a_tasks_own_imports_is_not_hidden(tmp_path: Path, name: str) -> None:
    assert new("task", name, "--out", tmp_path).exit_code == 0
    known = registry.tasks.names()
    assert registry.discover([tmp_path / f"{name}.py"]) == []
    try:
        assert check_task(name, properties=["truth"]) == ("truth",)
    finally:
        registry.tasks.keep(known)


def test_a_tasks_name_is_looked_for_among_tasks(tmp_path: Path) -> None:
    done = new("task", "videoqa", "--out", tmp_path)
    assert done.exit_code == 2
    assert "task 'videoqa' exists already: harness.tasks.videoqa registers it" in done.stderr
    assert new("task", "casa", "--out", tmp_path).exit_code == 0
    assert "task 'lmms' exists already" in new("task", "lmms", "--out", tmp_path).stderr


def test_what_runs_the_test_is_named_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "pip install" not in new("task", "one", "--out", tmp_path).stdout
    monkeypatch.setattr("harness.cli.new._NEEDED", "not_installed")
    assert "  python -m pip install not_installed\n" in new("task", "two", "--out", tmp_path).stdout


def test_next_commands_name_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    lines = new("fusion", "my_fusion", "--out", folder).stdout.splitlines()
    assert lines[:2] == [f"wrote {folder / 'my_fusion.py'}", f"wrote {folder / 'test_my_fusion.py'}"]
    assert f"  harness list methods --plugin '{folder / 'my_fusion.py'}'" in lines


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-fusion", "name 'my-fusion' is not usable"),
        ("2fast", "name '2fast' is not usable"),
        ("MyFusion", "lower-case"),
        ("lambda", "no keyword of Python"),
        ("a" * 41, "at most 40"),
        ("../up", "is not usable"),
        ("casa", "method 'casa' exists already: harness.fusion_impls.casa registers it"),
        ("torch", "a Python module has it"),
    ],
)
def test_a_name_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    done = new("fusion", name, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["my_fusion.py", "test_my_fusion.py"])
def test_a_file_in_the_way_stays(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    done = new("fusion", "my_fusion", "--out", tmp_path)
    assert done.exit_code == 2
    assert f"{tmp_path / taken} exists already and is left as it is" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(taken, "mine")]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = new("fusion", "my_fusion", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is a file; give a folder" in done.stderr


def test_anything_else_is_answered_with_what_there_is(tmp_path: Path) -> None:
    done = new("method", "my_fusion", "--out", tmp_path)
    assert done.exit_code == 2
    assert "unknown kind of file 'method': give one of fusion, task" in done.stderr
    assert list(tmp_path.iterdir()) == []
