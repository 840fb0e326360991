"""The environment of a record."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import environment


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    environment.source_commit.cache_clear()
    yield
    environment.source_commit.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that tracks ``harness/__init__.py``, taken for the harness's own source."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "start")
    monkeypatch.setattr(environment, "_SOURCE", tmp_path / "harness")
    return tmp_path


def test_a_clean_checkout_says_its_commit(checkout: Path) -> None:
    assert environment.source_commit() == (git(checkout, "rev-parse", "HEAD"), False)


def test_new_results_do_not_make_the_source_dirty(checkout: Path) -> None:
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    assert environment.source_commit()[1] is False


def test_an_untracked_method_makes_the_source_dirty(checkout: Path) -> None:
    (checkout / "harness" / "new.py").write_text("")
    assert environment.source_commit()[1] is True


def test_an_installed_copy_in_somebodys_repository_has_no_commit(checkout: Path) -> None:
    git(checkout, "rm", "-q", "--cached", "harness/__init__.py")
    assert environment.source_commit() == (None, None)


def test_a_machine_without_git_still_has_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert environment.describe(threads=3).commit is None


def test_versions_and_threads_are_told() -> None:
    import torch

    found = environment.describe(threads=3)
    assert found.threads == 3
    assert found.torch == torch.__version__ or found.torch.startswith(torch.__version__.split("+")[0])
    assert found.cpu
    assert found.gpu is None


def test_a_device_that_is_not_there_is_none() -> None:
    assert environment.describe(device="cuda:99").gpu is None
