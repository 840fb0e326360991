"""Work in a process of its own, on a CPU forked from a server that has torch loaded already."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Literal
from unittest import mock

from harness import environment, worker
from harness.errors import HarnessError, InfrastructureError
from harness.plan import CellJob
from harness.records import Environment, Failed
from harness.spec import TaskSpec

PRELOAD = ("harness.execute.preload",)
WARM = "HARNESS_WARM_FAMILIES"
"""Tells the fork server which families of tasks to load for; modules are all that it can be given."""

_POLL_S = 0.2
_EXIT_GRACE_S = 5.0
_TAIL_LINES = 15
_TAIL_BYTES = 4000

Message = tuple[Literal["stage", "environment", "infrastructure", "done"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a process does: a function, named as ``module:name``, that writes a record.

    It is called with ``arguments``, a function that takes the stage it is in, and the process's environment.
    """

    function: str
    arguments: tuple[str, ...]
    device: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended. ``failed`` is None when the process has written a record itself."""

    failed: Failed | None
    environment: Environment | None


def start_server(
    preload: Sequence[str] = PRELOAD, *, device: str = "cpu", tasks: Iterable[TaskSpec] = ()
) -> None:
    """Start the fork server, so that it loads torch while the caller does something else.

    It also loads what the families of ``tasks`` need.
    """
    if not isinstance(_context(device), ForkServerContext):
        return
    families = {name for name, colon, _ in (task.name.partition(":") for task in tasks) if colon}
    with _main_hidden(), _starting(), mock.patch.dict(os.environ, {WARM: ",".join(sorted(families))}):
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
        multiprocessing.forkserver.ensure_running()


def run_in_process(
    job: CellJob,
    out: Path,
    measure: str,
    timeout_s: float,
    on_stage: Callable[[str], None],
    on_tick: Callable[[], None] = lambda: None,
) -> Ending:
    """Measure the cell in a process of its own and wait for it; see :func:`run_errand`."""
    errand = Errand(
        function=f"{worker.__name__}:{worker.measure_cell_file.__name__}",
        arguments=(job.to_json(), str(out.absolute()), measure),  # Other people's code may go elsewhere.
        device=job.key.device,
        threads=job.threads,
    )
    return run_errand(errand, timeout_s, on_stage, on_tick)


def run_errand(
    errand: Errand,
    timeout_s: float,
    on_stage: Callable[[str], None],
    on_tick: Callable[[], None] = lambda: None,
) -> Ending:
    """Run an errand in a process of its own and wait for it.

    The process and all that it started are gone when this returns or raises, Ctrl-C included. Raises
    InfrastructureError when no process can be started or the record could not be written.
    """
    kills_before = oom_kills()
    with tempfile.NamedTemporaryFile(prefix="harness-cell-", suffix=".log") as log:
        here, there = multiprocessing.Pipe()
        lifeline, held = multiprocessing.Pipe(duplex=False)
        process = _context(errand.device).Process(
            target=_child, args=(errand, log.name, there, lifeline), daemon=True
        )
        with _main_hidden(), _starting():
            process.start()
        there.close()
        lifeline.close()
        watch = _Watch(on_stage, on_tick)
        try:
            in_time = watch.follow(here, process.sentinel, time.monotonic() + timeout_s)
            if watch.done:
                process.join(_EXIT_GRACE_S)
        finally:
            _kill(process.pid)
            process.join(_EXIT_GRACE_S)
            here.close()
            held.close()
        if watch.infrastructure is not None:
            raise InfrastructureError(watch.infrastructure)
        if watch.done:
            failed = None
        elif not in_time:
            failed = _timed_out(timeout_s, watch.stage)
        else:
            failed = _crashed(process.exitcode, watch.stage, oom_kills() > kills_before, _tail(log.name))
        return Ending(failed=failed, environment=watch.environment)


def _context(device: str) -> ForkServerContext | SpawnContext:
    # A CUDA driver that anything has asked for its devices does not survive a fork.
    if device == "cpu":
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


class _Watch:
    """Reads what a cell's process says until it is done, ends or runs out of time."""

    def __init__(self, on_stage: Callable[[str], None], on_tick: Callable[[], None]) -> None:
        self._on_stage = on_stage
        self._on_tick = on_tick
        self.stage = "starting"
        self.environment: Environment | None = None
        self.infrastructure: str | None = None
        self.done = False

    def follow(self, connection: Connection, sentinel: int, deadline: float) -> bool:
        """Return False when the deadline passed first."""
        while (left := deadline - time.monotonic()) > 0:
            ready = wait([connection, sentinel], timeout=min(left, _POLL_S))
            if connection in ready:
                try:
                    self._take(connection.recv())
                except (EOFError, OSError):
                    wait([sentinel], timeout=_EXIT_GRACE_S)
                    return True
            elif sentinel in ready:
                return True
            if self.done or self.infrastructure is not None:
                return True
            self._on_tick()
        return False

    def _take(self, message: Message) -> None:
        kind, text = message
        if kind == "stage":
            self.stage = text
            self._on_stage(text)
        elif kind == "environment":
            self.environment = Environment.model_validate_json(text)
        elif kind == "infrastructure":
            self.infrastructure = text
        else:
            self.done = True


def oom_kills() -> int:
    """How often the kernel's out-of-memory killer has struck on this machine, or 0 where that is not told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _timed_out(timeout_s: float, stage: str) -> Failed:
    message = f"no result after {timeout_s:g} s, stopped during {stage!r}; give more time with --timeout"
    return Failed(failure="timeout", message=message)


def _crashed(exitcode: int | None, stage: str, oom_killed: bool, tail: str) -> Failed:
    if exitcode is not None and exitcode < 0:
        try:
            how = f"was killed by {signal.Signals(-exitcode).name}"
        except ValueError:
            how = f"was killed by signal {-exitcode}"
    else:
        how = f"ended with exit status {exitcode} and no result"
    if exitcode == -signal.SIGKILL and oom_killed:
        message = f"the process {how} by the kernel for want of memory during {stage!r}"
        return Failed(failure="out_of_memory", message=message, traceback=tail or None)
    return Failed(failure="crash", message=f"the process {how} during {stage!r}", traceback=tail or None)


def _tail(path: str) -> str:
    """The end of what the process wrote to standard output and error."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def _kill(pid: int | None) -> None:
    """Kill the process and everything in its group."""
    if pid is None:
        return
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
            return


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise InfrastructureError(
            f"cannot start a process for a cell: {error or 'the fork server died'}"
        ) from error


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep multiprocessing from running the caller's main script again in every process.

    Nothing of it is needed there, and a script without a ``__main__`` guard would start another run.
    """
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real


def _child(errand: Errand, log: str, parent: Connection, lifeline: Connection) -> None:
    """Body of the process. ``lifeline`` closes at its other end when the parent dies."""
    with contextlib.suppress(OSError):
        os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    faulthandler.enable()
    _die_with(lifeline)
    where = environment.describe(device=errand.device, threads=errand.threads)
    parent.send(("environment", where.model_dump_json()))
    try:
        work = worker.load_function(errand.function)
        work(*errand.arguments, lambda text: parent.send(("stage", text)), where)
    except HarnessError as error:
        parent.send(("infrastructure", str(error)))
    else:
        parent.send(("done", ""))


def _die_with(lifeline: Connection) -> None:
    """Have this process and its children killed when the lifeline's other end closes."""
    if sys.platform == "linux":
        # The kernel does it, so that a process which hangs in native code and lets no thread run goes too.
        descriptor = lifeline.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_die_at_end, args=(lifeline,), daemon=True).start()


def _die_at_end(lifeline: Connection) -> None:
    """For a parent that died before the kernel was asked, and for systems without such a signal."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    _kill(os.getpid())
