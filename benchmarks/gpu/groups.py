"""Cells in processes of their own: one for each method and backbone, so that a crash costs one cell."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.gpu.records import Card, Failed, GpuRecord, path_of, stands, write_record
from harness.counting.records import CountKey
from harness.errors import ExitCode, InfrastructureError
from harness.files import writing_to
from harness.records import Environment

Launch = Callable[[Sequence[CountKey]], str]
"""Measures cells in another process; how that ended, in words."""
Progress = Callable[[str], None]


class Job(BaseModel):
    """What a process is told on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[CountKey, ...]
    folder: Path
    warmups: int
    plugins: tuple[Path, ...] = ()


def groups(keys: Sequence[CountKey]) -> Iterator[list[CountKey]]:
    """Neighbouring cells that one model serves."""

    def model(key: CountKey) -> tuple[str, str, str]:
        return key.method, repr(key.method_config), key.backbone

    for _, members in itertools.groupby(keys, key=model):
        yield list(members)


def run_group(
    keys: Sequence[CountKey],
    folder: Path,
    launch: Launch,
    environment: Environment,
    card: Card,
    *,
    warmups: int,
    again: bool = False,
    progress: Progress = lambda line: None,
) -> None:
    """Measure the cells that have no record that stands.

    Where a process ends early, the first cell without a record is the one that ended it; another process goes
    on with those after it.
    """
    pending = [key for key in keys if again or not stands(path_of(folder, key), key, environment, card)]
    with writing_to(folder):
        for key in pending:
            path_of(folder, key).unlink(missing_ok=True)
    while pending:
        first = pending[0]
        progress(f"{first.method} on {first.backbone}: {len(pending)} of {len(keys)} cells to measure")
        started = datetime.now(UTC)
        ended = launch(pending)
        pending = [key for key in pending if not path_of(folder, key).exists()]
        if not pending:
            return
        record = GpuRecord(
            key=pending[0],
            environment=environment,
            card=card,
            warmups=warmups,
            started_at=started.isoformat(timespec="seconds"),
            duration_s=(datetime.now(UTC) - started).total_seconds(),
            outcome=Failed(message=f"the process that measured it {ended}"),
        )
        write_record(folder, record)
        pending = pending[1:]


def launcher(folder: Path, warmups: int, plugins: tuple[Path, ...], seconds: float) -> Launch:
    """Start this benchmark's own worker; ``seconds`` is the longest that one cell may take."""

    def launch(keys: Sequence[CountKey]) -> str:
        job = Job(keys=tuple(keys), folder=folder, warmups=warmups, plugins=plugins)
        command = [sys.executable, "-m", "benchmarks.gpu_memory", "--worker"]
        try:
            done = subprocess.run(
                command, input=job.model_dump_json(), text=True, timeout=seconds * len(keys), check=False
            )
        except subprocess.TimeoutExpired as expired:
            return f"had not ended after {expired.timeout:.0f} s and was stopped"
        if done.returncode == ExitCode.INFRASTRUCTURE:
            raise InfrastructureError("a worker could not go on; its reason is above")
        signal = done.returncode < 0
        return f"was ended by signal {-done.returncode}" if signal else f"ended with {done.returncode}"

    return launch
