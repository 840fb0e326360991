"""A timing run from its specification to one record per size, each size in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness import environment
from harness.errors import InfrastructureError
from harness.execute.process import PRELOAD, Errand, run_errand, start_server
from harness.records import Environment, Failed
from harness.timing.plan import TimingJob, TimingPlan, make_timing_plan
from harness.timing.records import Load, TimingKey, TimingRecord
from harness.timing.spec import TimingSpec
from harness.timing.store import open_timings, read_timing, write_timing
from harness.worker import Progress, failed_by, load_function

MEASURE = "harness.timing.measure:time_size"
"""The function that times a size, as ``module:name``."""


class Observer:
    """Told of every step of a timing run; this one stays silent."""

    def begin(self, plan: TimingPlan, kept: int) -> None:
        """``kept`` of the plan's sizes need not be timed again."""

    def size_started(self, key: TimingKey) -> None:
        """A size begins."""

    def stage(self, text: str) -> None:
        """What the process does now."""

    def size_ended(self, record: TimingRecord) -> None:
        """A size has its record."""


def run_timing(
    spec: TimingSpec,
    observer: Observer | None = None,
    *,
    measure: str = MEASURE,
    preload: Sequence[str] = PRELOAD,
) -> list[TimingRecord]:
    """Time the sizes of ``spec`` that have no record yet, one after the other; return the records of all.

    A size at which a method failed, or had fewer rounds, is timed again. Raises UsageError for a
    specification that cannot be planned and InfrastructureError when records cannot be written; what is timed
    by then stays.
    """
    observer = observer or Observer()
    start_server(preload, device=spec.device, tasks=[spec.task] if spec.task is not None else ())
    plan = make_timing_plan(spec)
    open_timings(spec.out)
    observer.begin(plan, sum(_kept(job, spec) is not None for job in plan.jobs))
    return [_ensure(job, spec, observer, measure) for job in plan.jobs]


def _kept(job: TimingJob, spec: TimingSpec) -> TimingRecord | None:
    record = read_timing(spec.out, job.key.digest)
    enough = record is not None and record.complete and record.rounds >= job.rounds
    return record if spec.resume and enough else None


def _ensure(job: TimingJob, spec: TimingSpec, observer: Observer, measure: str) -> TimingRecord:
    record = _kept(job, spec)
    if record is None:
        observer.size_started(job.key)
        record = _run(job, spec, observer, measure)
        observer.size_ended(record)
    return record


def _run(job: TimingJob, spec: TimingSpec, observer: Observer, measure: str) -> TimingRecord:
    key, clock = job.key, _Clock()
    errand = Errand(
        function=f"{__name__}:{time_here.__name__}",
        arguments=(job.to_json(), str(spec.out), measure),
        device=key.device,
        threads=key.threads,
    )
    ending = run_errand(errand, spec.timeout_s, observer.stage)
    if ending.failed is None:
        written = read_timing(spec.out, key.digest)
        if written is None:
            raise InfrastructureError(
                f"the record of timing {key.digest} is gone from {str(spec.out)!r} right after it was "
                "written; leave the folder alone while a run is at work"
            )
        return written
    where = ending.environment or environment.describe(threads=key.threads)
    record = clock.failed(job, where, ending.failed)
    write_timing(spec.out, record)
    return record


def time_here(job_json: str, out: str, measure: str, progress: Progress, where: Environment) -> None:
    """Time a size in this process and write its record."""
    job, clock = TimingJob.from_json(job_json), _Clock()
    try:
        result = load_function(measure)(job, progress)
        record = clock.record(
            job,
            where,
            frames_digest=result.frames_digest,
            encode=result.encode,
            outcomes=result.outcomes,
        )
    except Exception as error:
        record = clock.failed(job, where, failed_by(error))
    try:
        write_timing(Path(out), record)
    except ValueError as error:
        unusable = Failed(failure="error", message=f"unusable times: {error}")
        write_timing(Path(out), clock.failed(job, where, unusable))


class _Clock:
    """Start time, duration and load of a record."""

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._begin = time.perf_counter()
        self._load = machine_load()

    def record(self, job: TimingJob, where: Environment, **result: object) -> TimingRecord:
        values = {
            "key": job.key,
            "environment": where,
            "rounds": job.rounds,
            "order_seed": job.order_seed,
            "load_before": self._load,
            "load_after": machine_load(),
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "duration_s": round(time.perf_counter() - self._begin, 3),
        }
        return TimingRecord.model_validate(values | result)

    def failed(self, job: TimingJob, where: Environment, failed: Failed) -> TimingRecord:
        """The record of a size whose process ended before the rounds did: that is every method's outcome."""
        outcomes = (failed,) * len(job.cells)
        return self.record(job, where, frames_digest=None, encode=None, outcomes=outcomes)


def machine_load() -> Load | None:
    """The machine's load averages, or None where the system does not tell."""
    try:
        return os.getloadavg()
    except OSError:
        return None
