"""The composite action: what its steps run, and in which order."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.gate.config import GateConfig, parse_config
from tests.shell import shell

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}

STAND_IN = """#!/bin/bash
printf '%s' '{name}' >> '{log}'
printf ' [%s]' "$@" >> '{log}'
echo >> '{log}'
"""


def run(step: str, folder: Path, **environment: str) -> list[str]:
    """Run a step's script with stand-ins that write down how they are called."""
    programs, log = folder / "bin", folder / "log"
    programs.mkdir(exist_ok=True)
    for name in ("python", "harness"):
        program = programs / name
        program.write_text(STAND_IN.format(name=name, log=log))
        program.chmod(0o755)
    variables = {name: "" for name in STEPS[step]["env"]}
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", STEPS[step]["run"]],
        cwd=folder,
        check=True,
        env={
            **variables,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": "/action dir",
            "GITHUB_OUTPUT": str(folder / "output"),
            **environment,
        },
    )
    return log.read_text().splitlines()


PIP = "python [-m] [pip] [--disable-pip-version-check] [install] [--quiet] [-c] [/action dir/constraints.txt]"


def test_torch_comes_first_and_alone(tmp_path: Path) -> None:
    assert run("Install", tmp_path, TORCH_INDEX="https://index/cpu", INSTALL=". $(touch x)") == [
        f"{PIP} [--no-deps] [--index-url] [https://index/cpu] [torch]",
        f"{PIP} [/action dir]",
        f"{PIP} [.] [$(touch] [x)]",
    ]
    assert not (tmp_path / "x").exists()


def test_without_options(tmp_path: Path) -> None:
    assert run("Install", tmp_path) == [f"{PIP} [--no-deps] [torch]", f"{PIP} [/action dir]"]
    (tmp_path / "log").unlink()
    assert run("Check", tmp_path, JUNIT="j.xml", FOLDER=".") == ["harness [check] [--junit] [j.xml]"]
    assert (tmp_path / "output").read_text() == "junit=./j.xml\n"


def test_paths_are_passed_whole(tmp_path: Path) -> None:
    done = run("Check", tmp_path, JUNIT="/j.xml", FOLDER="sub", CONFIG="a b.toml", BASELINE='b";x.json')
    assert done == ['harness [check] [--junit] [/j.xml] [--config] [a b.toml] [--baseline] [b";x.json]']
    assert (tmp_path / "output").read_text() == "junit=/j.xml\n"


def test_inputs_reach_the_scripts_through_the_environment_only() -> None:
    """An expression inside a script would be run as shell."""
    for step in STEPS.values():
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
    used = str(ACTION["runs"])
    assert all(f"inputs.{name} " in used for name in ACTION["inputs"])


PAGE = (ROOT / "docs" / "gate.md").read_text()


def blocks(language: str) -> list[str]:
    return [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


@pytest.mark.parametrize("block", [0, 1])
def test_the_page_shows_configurations_that_load(block: int) -> None:
    config = parse_config(tomllib.loads(blocks("toml")[block]), "page")
    if block == 1:
        shown = config.model_copy(update={"declared": {}, "ratio": ()})
        assert shown == GateConfig(), "the page shows the defaults"


def test_the_page_shows_a_workflow_that_uses_the_action() -> None:
    (text,) = blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["memory"]["steps"]
    assert steps[-1] == {"uses": "OWNER/vlm-fusion-harness@REF", "id": "memory"}
    assert "junit" in ACTION["outputs"]


@pytest.mark.slow
def test_the_pages_commands_work(tmp_path: Path) -> None:
    """From nothing to green, and to red with a planted buffer."""
    assert shell("git init && harness new fusion my_fusion", tmp_path).returncode == 0
    (tmp_path / "harness.toml").write_text(blocks("toml")[0])
    for commands in blocks("sh"):
        done = shell(commands, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    method = tmp_path / "my_fusion.py"
    source = method.read_text()
    planted = source.replace(
        "    def begin(self, step: Step) -> None:\n",
        "    def begin(self, step: Step) -> None:\n"
        "        frames = step.layout.cursors[0].frame + 1\n"
        "        step.carried['all pairs'] = step.decoder.embed.weight.new_zeros(frames, frames, 256)\n",
    )
    assert planted != source
    method.write_text(planted)
    red = shell("harness check", tmp_path)
    assert red.returncode == 1
    assert "FAILED order: my_fusion · prefill · frames at 64x64" in red.stdout
    line = planted.splitlines().index(next(text for text in planted.splitlines() if "all pairs" in text)) + 1
    assert f"by aten.new_zeros.default at my_fusion.py:{line}" in red.stdout
