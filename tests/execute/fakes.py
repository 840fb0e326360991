"""Stand-ins for the function that measures a cell, each with one fault; named to real processes."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

from harness import store
from harness.execute.process import WARM
from harness.journal import Journal
from harness.plan import CellJob
from harness.records import Accuracy, Latency, Measures, Memory, SampleOutcome, Timing

Progress = Callable[[str], None]


def families(job: CellJob, progress: Progress) -> None:
    """Fail with the families of tasks that the fork server was told of."""
    raise KeyError(os.environ.get(WARM))


class NonFiniteError(Exception):
    """Named like the one that the measuring code raises."""


def measures(frames: int = 1) -> Measures:
    timing = Timing(raw_ms=(1.0, 2.0, 4.0))
    return Measures(
        parameters=1234,
        accuracy=Accuracy(
            mean=0.5, low=0.25, high=0.75, scored=8, unparsed=0, errors=0, chance=0.1, oracles={"blind": 0.2}
        ),
        by_kind={},
        extrapolated=False,
        memory=Memory(
            source="counted",
            peak_bytes=2**20 * frames,
            resting_bytes=2**19,
            reserved_bytes=None,
            host_peak_bytes=None,
            state_bytes={"text_kv": 64},
        ),
        latency=Latency(encode=timing, prefill=timing, per_frame=timing, per_token=None),
        prefill_flops=None,
        frames_digest="0" * 16,
        attention_routes=("dense",),
    )


def sample(prediction: str = "7") -> SampleOutcome:
    return SampleOutcome(
        sample="s0",
        group="clip0",
        question="q0",
        kind="read",
        prediction=prediction,
        answer="7",
        status="scored",
        value=1.0,
        oracle_values={},
        chance=0.1,
    )


def good(job: CellJob, progress: Progress) -> SimpleNamespace:
    progress("measuring")
    return SimpleNamespace(measures=measures(job.key.frames), samples=(sample(),))


def parent(job: CellJob, progress: Progress) -> SimpleNamespace:
    progress(str(os.getppid()))
    return SimpleNamespace(measures=measures(), samples=())


def logged(job: CellJob, progress: Progress) -> SimpleNamespace:
    """Note every call in a file beside the cache, then go on like ``good``."""
    with (job.cache_dir / "calls").open("a") as calls:
        calls.write(f"{job.key.frames}\n")
    return good(job, progress)


def logged_then_stuck(job: CellJob, progress: Progress) -> SimpleNamespace:
    """Like ``logged_then_slow``, but in native code that lets no other thread of the process run."""
    (job.cache_dir / "worker").write_text(str(os.getpid()))
    result = logged(job, progress)
    if job.key.frames == 4:
        ctypes.PyDLL(None).sleep(600)
    return result


def logged_then_slow(job: CellJob, progress: Progress) -> SimpleNamespace:
    (job.cache_dir / "worker").write_text(str(os.getpid()))
    result = logged(job, progress)
    if job.key.frames == 4:
        time.sleep(600)
    return result


def unreadable(job: CellJob, progress: Progress) -> SimpleNamespace:
    """One of two questions could not be asked."""
    result = good(job, progress)
    accuracy = result.measures.accuracy.model_copy(update={"errors": 1})
    result.measures = result.measures.model_copy(update={"accuracy": accuracy})
    broken = sample().model_copy(update={"sample": "[b]typo.png", "status": "error", "value": None})
    result.samples = (sample(), broken)
    return result


def unscored(job: CellJob, progress: Progress) -> SimpleNamespace:
    """The scorer failed on every answer."""
    result = good(job, progress)
    counts = {"scored": 0, "errors": 1, "mean": None, "low": None, "high": None}
    accuracy = result.measures.accuracy.model_copy(update=counts)
    result.measures = result.measures.model_copy(update={"accuracy": accuracy})
    result.samples = (
        sample().model_copy(update={"status": "error", "value": None, "reason": "KeyError: 'Judge'"}),
    )
    return result


def unparsed(job: CellJob, progress: Progress) -> SimpleNamespace:
    """No answer is in the form that was asked for."""
    result = good(job, progress)
    counts = {"scored": 0, "unparsed": 7 * job.key.frames, "mean": 0.0}
    accuracy = result.measures.accuracy.model_copy(update=counts)
    result.measures = result.measures.model_copy(update={"accuracy": accuracy})
    return result


def fault_at_two_frames(job: CellJob, progress: Progress) -> SimpleNamespace:
    if job.key.frames == 2:
        raise RuntimeError("planted at two frames\nframe #0: c10::Error")
    return good(job, progress)


def segfault(job: CellJob, progress: Progress) -> SimpleNamespace:
    progress("about to crash")
    print("last words", file=sys.stderr, flush=True)
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("unreachable")


def killed(job: CellJob, progress: Progress) -> SimpleNamespace:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def killed_after_an_answer(job: CellJob, progress: Progress) -> SimpleNamespace:
    """Die with one more answer in the journal than there was."""
    journal = Journal(job.journal, "frames")
    kept = journal.kept("s0", "q0")
    journal.add([sample() if kept is None else sample().model_copy(update={"sample": "s1"})])
    return killed(job, progress)


def leaves(job: CellJob, progress: Progress) -> SimpleNamespace:
    os._exit(7)


def hangs(job: CellJob, progress: Progress) -> SimpleNamespace:
    """Hang together with a child process of its own, whose id is left in a file."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (job.cache_dir / "child").write_text(str(child.pid))
    progress("hanging")
    time.sleep(600)
    raise AssertionError("unreachable")


def no_memory(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise MemoryError("planted")


def no_memory_torch(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    )


def not_finite(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise NonFiniteError("logits hold NaN at layer 2")


def raises(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise KeyError("planted")


class UnspeakableError(RuntimeError):
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("planted")


def unspeakable(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise UnspeakableError


def lone_surrogate(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise ValueError("planted \udcff")


def says_nothing(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise MemoryError


def nan_measures(job: CellJob, progress: Progress) -> SimpleNamespace:
    result = good(job, progress)
    memory = result.measures.memory
    timing = Timing.model_construct(raw_ms=(float("nan"),))
    latency = Latency(encode=timing, prefill=timing, per_frame=None, per_token=None)
    result.measures = result.measures.model_copy(update={"latency": latency, "memory": memory})
    return result


def full_disk_at_two_frames(job: CellJob, progress: Progress) -> SimpleNamespace:
    """Let the record's own write meet a full disk."""
    if job.key.frames == 2:

        def no_space(contents: Mapping[Path, bytes]) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        vars(store).update(replace_files=no_space)
    return good(job, progress)


def full_cache(job: CellJob, progress: Progress) -> SimpleNamespace:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
