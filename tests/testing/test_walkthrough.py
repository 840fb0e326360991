"""`docs/adding_a_method.md` does what it says: its commands run, its edit applies, its code and message are
real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import registry
from harness.cli.new import write_fusion
from harness.cli.templates import FUSION
from harness.testing import PropertyError, check_fusion_method
from tests.shell import shell

from .test_mutants import FINISH, loaded

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/adding_a_method.md").read_text(), re.M | re.S)
LEAST = {"STEPS": "1", "LIMIT": "1"}
"""What the page's commands take instead of their own numbers."""


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def apply(diff: str, path: Path) -> None:
    """Apply an edit whose hunks are found by their text."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.M)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))


def printed(commands: str, folder: Path) -> str:
    """What commands print; fails with all of it where one fails."""
    done = shell(commands, folder, PYTHONDONTWRITEBYTECODE="1", **LEAST)
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_commands_lead_from_an_empty_folder_to_a_report(tmp_path: Path) -> None:
    output = []
    for language, text in BLOCKS:
        if language == "diff":
            apply(text, tmp_path / "my_fusion.py")
        if language == "sh":
            output.append(printed(text, tmp_path))
    assert any(line.startswith("| my_fusion | ") for line in output[-1].splitlines())
    assert "report: results/my_fusion/report/report.html" in output[-2]


def test_an_edit_that_does_not_fit_is_noticed(tmp_path: Path) -> None:
    method, _ = write_fusion("my_fusion", tmp_path)
    (diff,) = blocks("diff")
    apply(diff, method)
    with pytest.raises(AssertionError):
        apply(diff, method)


def test_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    checks, _ = blocks("python")
    exec(compile(checks, "adding_a_method.md", "exec"), {})
    assert "streaming: one shot equals streaming in any chunking" in capsys.readouterr().out


def test_the_insertion_method_has_every_property(tmp_path: Path) -> None:
    _, method = blocks("python")
    path = tmp_path / "pooled_insertion.py"
    path.write_text(method)
    known = list(registry.methods)
    assert not [one for one in registry.discover([path]) if one.source == str(path)]
    try:
        check_fusion_method("pooled_insertion", streams=2)
    finally:
        registry.methods.keep(known)


def test_the_failure_shown_is_the_one_that_comes() -> None:
    source = FUSION.replace(FINISH, "        pass\n").replace("example_method", "my_fusion")
    with loaded(source) as method, pytest.raises(PropertyError) as caught:
        check_fusion_method(method, properties=["frames_freed"])
    assert [f"{caught.value}\n"] == blocks("text")
