"""The command that times a run's sizes again plans the same sizes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.report.again import time_again
from harness.spec import MethodSpec, TaskSpec
from harness.timing import run
from harness.timing.plan import make_timing_plan
from harness.timing.records import TimingRecord
from harness.timing.spec import TimingSpec
from tests.timing import made


def records(**changes: Any) -> list[TimingRecord]:
    values: dict[str, Any] = {"out": Path("run"), "weights": "random", "frames": (1, 4), "rounds": 7}
    plan = make_timing_plan(TimingSpec(**(values | changes)))
    return [
        made.record({str(index): made.FAILED for index in range(len(job.cells))}).model_copy(
            update={"key": job.key, "order_seed": job.order_seed}
        )
        for job in plan.jobs
    ]


def planned(command: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that a command would time."""
    digests: list[str] = []

    def plan_only(spec: TimingSpec, *_: object) -> list[TimingRecord]:
        digests.extend(job.key.digest for job in make_timing_plan(spec).jobs)
        return []

    monkeypatch.setattr(run, "run_timing", plan_only)
    CliRunner().invoke(app, [*shlex.split(command)[1:]])
    return digests


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": (MethodSpec("casa"), MethodSpec.parse("casa:gists=3"), MethodSpec("casa"))},
        {"methods": (MethodSpec("vanilla_ca"),), "task": None, "frames": (128,), "threads": 2},
        {"methods": (MethodSpec("vanilla_ca"),), "task": TaskSpec.parse("videoqa:clips=9"), "limit": None},
        {"methods": (MethodSpec("vanilla_ca"),), "weights": "trained", "resolutions": ((32, 32), (32, 48))},
    ],
)
def test_the_command_plans_the_same_sizes(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = records(**changes)
    command = time_again(given, "nowhere")
    assert sorted(planned(command, monkeypatch)) == sorted(record.key.digest for record in given)
    assert "--rounds 7" in command
