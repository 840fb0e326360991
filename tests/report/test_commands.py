"""The short commands that a report gives plan the cells that it shows, and no others."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import harness.execute
from harness.cli import app
from harness.plan import make_plan
from harness.records import CellKey, Record
from harness.report.command import reproduce
from harness.report.evidence import gather
from harness.report.labels import default_configs
from harness.spec import EvalSpec
from harness.store import uncollected
from tests.report import synthetic as s

ROOT = Path(__file__).parents[2]


def planned(command: str, monkeypatch: pytest.MonkeyPatch) -> list[CellKey]:
    """The cells that a command would measure."""
    keys: list[CellKey] = []

    def plan_only(spec: EvalSpec, *_: object) -> list[Record]:
        keys.extend(cell.job.key for cell in make_plan(spec).cells)
        return []

    monkeypatch.setattr(harness.execute, "run_eval", plan_only)
    program, *arguments = shlex.split(command)
    assert program == "harness"
    CliRunner().invoke(app, [*arguments, "--out", "nowhere"])
    return keys


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shipped"), [("reference", True), ("ablation", False)])
def test_the_commands_of_a_committed_report_plan_its_cells(
    name: str, shipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the weights are not shipped, their hash is all that differs."""
    monkeypatch.chdir(ROOT)
    with uncollected():
        evidence = gather(Path("results") / name)
    commands = reproduce(evidence.records, evidence.defaults)
    assert len(commands) <= 4

    def named(keys: Iterable[CellKey]) -> set[str]:
        return {key.digest if shipped else key.model_copy(update={"weights": ""}).digest for key in keys}

    found = [key for command in commands for key in planned(command, monkeypatch)]
    assert named(record.key for record in evidence.records) <= named(found)


def test_a_command_says_what_differs_from_defaults_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = default_configs(["casa", "vanilla_ca"])
    changed = {**defaults["casa"], "gists": 5}
    environment = s.environment(threads=1)
    records = [
        s.record(s.key(name, backbone="tiny-qwen3", weights="random", method_config=config), env=environment)
        for name, config in (("casa", changed), ("vanilla_ca", defaults["vanilla_ca"]))
    ]
    (command,) = reproduce(records, defaults)
    assert command == (
        "harness eval --task videoqa --methods casa:gists=5,vanilla_ca --frames 8 --resolution 64 --seed 0 "
        "--weights random"
    )
    monkeypatch.chdir(ROOT)
    plan = planned(command, monkeypatch)
    assert len(plan) == 2
    (other,) = reproduce([s.record(s.key(dtype="bfloat16", batch=4, view_seed=3))], defaults)
    assert "--view-seed 3 --backbone reference --dtype bfloat16 --batch 4 --threads 2" in other


def test_settings_of_methods_that_are_not_known_here_are_all_given() -> None:
    (command,) = reproduce([s.record(s.key("casa"))])
    assert "casa:gists=2" in command
