"""``harness check`` itself: options, streams and exit statuses."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.counting import side_by_side
from harness.counting.records import CountKey
from harness.counting.spec import CountSpec
from harness.errors import InfrastructureError, unknown
from tests.counted import WEIGHTS

from .synthetic import World, linear


def use(monkeypatch: pytest.MonkeyPatch, count: object) -> None:
    monkeypatch.setattr(side_by_side, "SideBySide", lambda: nullcontext(count))


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The command counts by the world's formulas and runs in its folder."""
    use(monkeypatch, world.count)
    monkeypatch.chdir(world.folder)
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return world


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_from_nothing_to_red_and_back(here: World) -> None:
    first = run()
    assert first.exit_code == 3
    assert "run `harness check --update` and commit the file" in first.stdout
    assert run("--update").exit_code == 0
    assert run().exit_code == 0
    here.formulas["casa"] = lambda key: WEIGHTS + key.frames**2 * 2**20
    red = run()
    assert red.exit_code == 1
    assert "FAILED order: casa · prefill · frames at 64x64: order 2.00, declared 1" in red.stdout
    assert "to accept what was counted as the new baseline: harness check --update" in red.stdout
    still = run("--update")
    assert still.exit_code == 1
    assert "FAILED order" in still.stdout
    here.formulas["casa"] = linear
    better = run()
    assert better.exit_code == 0
    assert "so that it stays so" in better.stdout


def test_json_is_all_of_standard_output(here: World) -> None:
    run("--update")
    here.formulas["casa"] = lambda key: "broken"
    done = run("--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["exit_code"] == 1


def test_junit_is_written_whatever_the_outcome(here: World) -> None:
    path = here.folder / "out" / "junit.xml"
    assert run("--junit", path).exit_code == 3
    assert ElementTree.parse(path).getroot()[0].attrib["failures"] == "1"
    run("--update")
    assert run("--junit", path).exit_code == 0
    assert ElementTree.parse(path).getroot()[0].attrib["failures"] == "0"


def test_annotations_come_on_github_only(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "::error" not in run().output
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(here.folder))
    assert "::error file=harness.toml,line=1,title=harness check::no baseline at" in run().stdout
    done = run("--json")
    assert "::error" in done.stderr
    json.loads(done.stdout)


def test_other_files(here: World) -> None:
    config, baseline = here.folder / "mine.toml", here.folder / "deep" / "mine.json"
    config.write_bytes((here.folder / "harness.toml").read_bytes())
    assert run("--config", config, "--baseline", baseline, "--update").exit_code == 0
    assert baseline.is_file()
    assert not here.baseline.exists()
    assert run("--config", config, "--baseline", baseline).exit_code == 0


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("frames = [0, 1, 2]", "frames 0 is not usable"),
        ("frames = [4, 2, 1]", "do not rise"),
        ('backbone = "helium1-2"', "did you mean 'helium1-2b'"),
        ("[declared.cassa]", "unknown method 'cassa': did you mean 'casa'"),
        ("tolerances = 1", "did you mean 'tolerance'"),
        ('baseline = ""', "baseline = '' is not usable"),
    ],
)
def test_usage_errors_are_one_line_and_overwrite_nothing(
    here: World, monkeypatch: pytest.MonkeyPatch, toml: str, message: str
) -> None:
    run("--update")
    before = here.baseline.read_bytes()
    here.write(toml)

    def count(spec: CountSpec, progress: object) -> object:
        raise unknown("backbone", spec.backbone, ["helium1-2b", "tiny-qwen3"])

    if "backbone" in toml:
        use(monkeypatch, count)
    for arguments in ((), ("--update",)):
        done = run(*arguments)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert here.baseline.read_bytes() == before


def test_without_a_configuration(here: World) -> None:
    (here.folder / "harness.toml").unlink()
    done = run()
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no harness.toml and no pyproject.toml with [tool.harness] in ")


def test_infrastructure_has_its_own_status(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(spec: CountSpec, progress: object) -> object:
        raise InfrastructureError("the disk is full")

    use(monkeypatch, count)
    assert run().exit_code == 4
    use(monkeypatch, lambda spec, progress: 1 / 0)
    assert run().exit_code == 4
    use(monkeypatch, here.count)
    assert run("--junit", here.folder).exit_code == 4


def test_progress_is_for_terminals(here: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def count(spec: CountSpec, progress: object) -> object:
        assert callable(progress)
        progress("cell 1\nof 5")
        return here.count(spec)

    use(monkeypatch, count)
    assert run("--update").stderr == ""


def test_what_cannot_be_counted_cannot_be_accepted_as_it_is(here: World) -> None:
    assert run("--update").exit_code == 0
    here.formulas["casa"] = lambda key: "broken"
    last = run().stdout.splitlines()[-1]
    assert "baseline once all can be, or its method is in known_failures: harness check --update" in last
    assert run("--update").exit_code == 2


def test_a_plugin_that_ends_the_program_is_no_success(here: World) -> None:
    def leave(key: CountKey) -> int:
        raise SystemExit(0)

    here.formulas["casa"] = leave
    assert run().exit_code == 4
