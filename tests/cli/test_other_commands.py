"""``harness list``, ``train`` and ``report``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness.errors import UsageError
from harness.records import Outcome, Skipped
from harness.registry import BrokenPlugin
from harness.spec import TrainSpec
from harness.store import Store
from tests.report import synthetic

from .conftest import World


def test_version(world: World) -> None:
    assert world.run("--version").stdout == f"harness {harness.__version__}\n"


def test_list_shows_names_and_settings_as_they_are(world: World) -> None:
    done = world.run("list")
    assert done.exit_code == 0
    assert "toy [red]toy[/red] over" in done.stdout
    assert "gists=2  (int)" in done.stdout
    assert "order=up  (one of up, down)" in done.stdout
    assert "counting  counts" in done.stdout


def test_list_as_json_is_one_document(world: World) -> None:
    document = json.loads(world.run("list", "--json").stdout)
    assert [entry["name"] for entry in document["methods"]] == ["other", "toy"]
    assert document["tasks"][0]["version"] == 3
    assert document["backbones"][0]["name"] == "tiny-qwen3"
    assert list(json.loads(world.run("list", "methods", "--json").stdout)) == ["methods", "broken"]


def test_list_shows_what_broke(world: World) -> None:
    world.broken.append(BrokenPlugin("mine.py", "ImportError: planted", "Traceback: deep"))
    done = world.run("list", "methods")
    assert done.exit_code == 0
    assert "plugin mine.py could not be imported: ImportError: planted" in done.stderr
    assert "deep" in world.run("list", "methods", "--debug").stderr
    assert json.loads(world.run("list", "--json").stdout)["broken"][0]["traceback"] == "Traceback: deep"


def test_list_of_something_else_is_a_usage_error(world: World) -> None:
    done = world.run("list", "things")
    assert done.exit_code == 2
    assert "give one of methods, tasks, backbones" in done.stderr


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainSpec]:
    """The specifications that reach the trainer."""
    seen: list[TrainSpec] = []

    def train(spec: TrainSpec, progress: Callable[[str], None]) -> Path:
        seen.append(spec)
        progress("step 1\nof 2")
        return spec.out / "model"

    module = ModuleType("harness.train.run")
    vars(module).update(train=train)
    monkeypatch.setitem(sys.modules, "harness.train.run", module)
    return seen


def test_train_passes_a_checked_specification(world: World, trained: list[TrainSpec]) -> None:
    arguments = ("--task", "counting", "--steps", 5, "--seed", 3, "--out", world.folder)
    done = world.run("train", "--method", "toy:gists=4+rate=0.5+layers=0/2", *arguments)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"model: {world.folder / 'model'}\n"
    assert done.stderr == "step 1 of 2\n"
    assert trained == [
        TrainSpec(
            method="toy",
            method_config={"gists": 4, "layers": (0, 2)},
            tasks=("counting",),
            steps=5,
            seed=3,
            out=world.folder,
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "tooy"), "did you mean 'toy'"),
        (("--method", "toy:gists=x"), "give a whole number"),
        (("--method", "toy", "--task", "countin"), "did you mean 'counting'"),
        (("--method", "toy", "--task", "counting:a=1"), "has settings"),
        (("--method", "toy", "--steps", "0"), "steps 0 is not usable"),
        (("--method", "toy", "--backbone", "x"), "unknown backbone 'x'"),
    ],
)
def test_train_refuses_what_cannot_be_used(
    world: World, trained: list[TrainSpec], arguments: tuple[str, ...], message: str
) -> None:
    given = arguments if "--task" in arguments else (*arguments, "--task", "counting")
    done = world.run("train", *given, "--out", world.folder)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert trained == []


def test_report_prints_where_it_is(world: World) -> None:
    written = Store(world.folder).open()
    written.write(synthetic.record(synthetic.key()), [])
    written.write(synthetic.record(synthetic.key("vanilla_ca"), synthetic.failed()), [])
    done = world.run("report", world.folder)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"report: {world.folder / 'report.html'}",
        f"markdown: {world.folder / 'report.md'}",
    ]


@pytest.mark.parametrize("outcomes", [[], [synthetic.failed()], [synthetic.failed(), Skipped(reason="no")]])
def test_report_of_no_measured_cell_is_written_and_is_no_success(
    world: World, outcomes: list[Outcome]
) -> None:
    written = Store(world.folder).open()
    for number, outcome in enumerate(outcomes):
        written.write(synthetic.record(synthetic.key(seed=number), outcome), [])
    done = world.run("report", world.folder)
    assert done.exit_code == 3
    assert done.stdout.splitlines() == [
        f"report: {world.folder / 'report.html'}",
        f"markdown: {world.folder / 'report.md'}",
    ]
    assert f"nothing measured: none of the {len(outcomes)} cells" in done.stderr


def test_report_of_nothing_is_a_usage_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(run_dir: Path, out: Path | None) -> Path:
        raise UsageError(f"{run_dir} holds no records")

    monkeypatch.setattr(sys.modules["harness.report.build"], "build_report", build)
    done = world.run("report", "nowhere")
    assert done.exit_code == 2
    assert done.stderr == "error: nowhere holds no records\n"


def test_a_polite_kill_is_answered_like_an_interrupt() -> None:
    code = (
        "import os, signal, sys\n"
        "from harness import cli, registry\n"
        "registry.discover = lambda files: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.argv = ['harness', 'list']\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "stopped\n"
