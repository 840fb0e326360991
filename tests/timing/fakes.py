"""Stand-ins for the function that times a size, named to real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from harness.timing.plan import TimingJob
from harness.timing.records import MethodOutcome
from tests.timing import made


class Result:
    """What :func:`harness.timing.measure.time_size` returns, without torch."""

    def __init__(self, outcomes: tuple[MethodOutcome, ...]) -> None:
        self.frames_digest, self.encode, self.outcomes = "0" * 16, None, outcomes


def good(job: TimingJob, progress: Callable[[str], None]) -> Result:
    progress("timing")
    with (job.cells[0].cache_dir / "calls").open("a") as calls:
        calls.write(f"{job.key.frames}\n")
    return Result((made.timed([1.0] * job.rounds),) * len(job.cells))


def one_fails(job: TimingJob, progress: Callable[[str], None]) -> Result:
    return Result((made.FAILED, *good(job, progress).outcomes[1:]))


def raises(job: TimingJob, progress: Callable[[str], None]) -> Result:
    raise KeyError("planted")


def killed(job: TimingJob, progress: Callable[[str], None]) -> Result:
    progress("warming up casa")
    if job.key.frames == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return good(job, progress)


def hangs(job: TimingJob, progress: Callable[[str], None]) -> Result:
    time.sleep(600)
    raise AssertionError("unreachable")


def not_finite(job: TimingJob, progress: Callable[[str], None]) -> Result:
    return Result((made.timed([float("nan")] * job.rounds),) * len(job.cells))
