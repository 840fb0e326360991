"""Cells, jobs and plans for tests; nothing here needs torch."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil

from harness.plan import CellJob, Plan, PlannedCell
from harness.records import CellKey, Environment, Failed, Ok, Outcome, Record, Skipped
from harness.spec import EvalSpec, TaskSpec

from . import fakes

SUBPROCESS_ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
"""Lets a process started by a test import the tests."""

PRELOAD = ("tests.execute.preload",)

ENVIRONMENT = Environment(
    harness="0",
    python="3",
    torch="2",
    transformers="5",
    platform="test",
    cpu="test",
    cpu_count=1,
    threads=1,
    gpu=None,
    cuda=None,
    commit=None,
    dirty=None,
)


def key(frames: int = 1, *, weights: str = "random", device: str = "cpu") -> CellKey:
    return CellKey(
        task="counting",
        task_version=1,
        task_config={},
        method="toy",
        method_config={"layers": [0, 2]},
        frames=frames,
        height=8,
        width=16,
        backbone="toy",
        weights=weights,
        seed=0,
        view_seed=0,
        limit=None,
        batch=1,
        dtype="float32",
        device=device,
    )


def job(folder: Path, frames: int = 1, *, weights: str = "random", device: str = "cpu") -> CellJob:
    return CellJob(
        key=key(frames, weights=weights, device=device),
        weights_path=None,
        cache_dir=folder,
        plugins=(),
        threads=1,
    )


def plan(folder: Path, *frames: int, skip: str | None = None, weights: str = "random") -> Plan:
    cells = tuple(PlannedCell(job=job(folder, n, weights=weights), skip=skip) for n in frames)
    return Plan(cells=cells, broken=())


def spec(out: Path, *, resume: bool = True, timeout_s: float = 30.0) -> EvalSpec:
    return EvalSpec(tasks=(TaskSpec("counting"),), out=out, resume=resume, timeout_s=timeout_s)


def record(frames: int = 1, outcome: Outcome | None = None, duration_s: float = 1.5) -> Record:
    return Record(
        key=key(frames),
        environment=ENVIRONMENT,
        outcome=outcome or Ok(measures=fakes.measures(frames)),
        started_at="2030-01-01T00:00:00+00:00",
        duration_s=duration_s,
    )


FAILED = Failed(failure="crash", message="planted")
SKIPPED = Skipped(reason="planted")


def gone(pid: int) -> bool:
    """Whether a process is dead; a killed orphan may stay a zombie where nobody reaps it."""
    for _ in range(50):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False
