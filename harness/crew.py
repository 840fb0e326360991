"""Processes beside this one that do independent pieces of work, as many as there are cores.

They are commands of their own and not forks: a program that has threads, or no guard around its main part,
can use them too. ``python -m harness.crew MODULE:FUNCTION`` calls the function with what it reads. Each
process takes the next piece as soon as it is done with one, and ends when this process does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from harness.errors import InfrastructureError
from harness.worker import load_function

Work = TypeVar("Work")
Answer = TypeVar("Answer")

MOST = 8
"""Processes that are started at most: each imports what it needs, which takes seconds and memory."""


def cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Not on every system.
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


class Crew(Generic[Work, Answer]):
    """Processes that call ``do``, for the length of a with-block.

    ``do`` is a module's own function that lets no exception out; work and answers are pickled. With a
    ``size`` of one there is no process, and a thread of this one does the work; of more than :data:`MOST`
    there are that many.
    """

    def __init__(self, do: Callable[[Work], Answer], size: int) -> None:
        self._do = do
        self._processes = [_start(do) for _ in range(min(size, MOST))] if size > 1 else []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(max(len(self._processes), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):  # Of one that died before it took what was written.
                process.stdin.close()
            process.stdout.close()
            process.wait()

    def submit(self, work: Work, name: str) -> Future[Answer]:
        """Have a piece of work done, which an error calls by its name; returns at once.

        Awaiting its answer raises InfrastructureError where the process that did it has died.
        """
        if not self._processes:
            return self._threads.submit(self._do, work)
        return self._threads.submit(self._elsewhere, work, name)

    def _elsewhere(self, work: Work, name: str) -> Answer:
        process = self._free.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(work, process.stdin)
            process.stdin.flush()
            answer: Answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise InfrastructureError(
                f"the process at work on {name} ended with status {process.wait()}; what it said is above"
            ) from None
        finally:
            self._free.put(process)
        return answer


def _start(do: Callable[..., object]) -> subprocess.Popen[bytes]:
    # The same modules are found as here, and none in the working directory that are not found here. Ctrl-C
    # goes to a terminal's whole group, and this process answers it.
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.crew", f"{do.__module__}:{do.__qualname__}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        process_group=0,
    )


def serve(do: Callable[[Any], object]) -> None:
    """Call ``do`` with each pickled piece of the standard input; the standard output gets its answers.

    What the work itself prints goes to the standard error.
    """
    given, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    while True:
        try:
            work = pickle.load(given)
        except EOFError:
            return
        answer = do(work)
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:  # Nobody waits for it any more.
            os._exit(0)


if __name__ == "__main__":
    serve(load_function(sys.argv[1]))
