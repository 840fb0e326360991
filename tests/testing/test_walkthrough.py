"""`docs/adding_a_method.md` does what it says: its commands run, its edit applies, its code and message are
real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import registry
from harness.cli.new import write_new
from harness.cli.templates import FUSION
from harness.testing import PropertyError, check_fusion_method

from .pages import Page, printed
from .test_mutants import FINISH, loaded

PAGE = Page("adding_a_method.md")


def apply(diff: str, path: Path) -> None:
    """Apply an edit whose hunks are found by their text."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.M)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_commands_lead_from_an_empty_folder_to_a_report(tmp_path: Path) -> None:
    output = []
    for language, text in PAGE.blocks:
        if language == "diff":
            apply(text, tmp_path / "my_fusion.py")
        if language == "sh":
            output.append(printed(text, tmp_path))
    assert any(line.startswith("| my_fusion | ") for line in output[-1].splitlines())
    assert "report: results/my_fusion/report/report.html" in output[-2]


def test_an_edit_that_does_not_fit_is_noticed(tmp_path: Path) -> None:
    method, _ = write_new("fusion", "my_fusion", tmp_path)
    (diff,) = PAGE.of("diff")
    apply(diff, method)
    with pytest.raises(AssertionError):
        apply(diff, method)


def test_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    checks, _ = PAGE.of("python")
    exec(compile(checks, "adding_a_method.md", "exec"), {})
    assert "streaming: one shot equals streaming in any chunking" in capsys.readouterr().out


def test_the_insertion_method_has_every_property(tmp_path: Path) -> None:
    _, method = PAGE.of("python")
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
    assert [f"{caught.value}\n"] == PAGE.of("text")
