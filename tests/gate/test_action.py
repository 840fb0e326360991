"""The composite action: what its steps run, and in which order."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from harness.gate.config import GateConfig, parse_config

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


@pytest.mark.parametrize("block", [0, 1])
def test_the_page_shows_configurations_that_load(block: int) -> None:
    text = (ROOT / "docs" / "gate.md").read_text().split("```toml\n")[block + 1].split("```")[0]
    config = parse_config(tomllib.loads(text), "page")
    if block == 1:
        shown = config.model_copy(update={"declared": {}, "ratio": ()})
        assert shown == GateConfig(), "the page shows the defaults"
