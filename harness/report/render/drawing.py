"""Every picture of a report, drawn by processes beside this one, as many as there are cores.

They are commands of their own and not forks: a program that has threads, or no guard around its main part,
can make a report too. ``python -m harness.report.render.drawing`` draws what it reads. Each takes the next
plot as soon as it is done with one.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

from harness.errors import InfrastructureError
from harness.report.canvas import Drawing
from harness.report.document import Document, Figure
from harness.report.plots.model import Plot
from harness.report.render.static import picture
from harness.report.style import Look, looks
from harness.store import uncollected

MOST = 8
"""Processes that are started on a machine of many cores; few reports have more than thirty figures."""

Drawn = Drawing | Exception
"""A picture, or why there is none."""


class Drawers:
    """Processes that draw, for the length of a with-block.

    They take a second or two to start, in which the caller can load the run. With one core there are none,
    and this process draws.
    """

    def __init__(self) -> None:
        cores = min(len(os.sched_getaffinity(0)), MOST)
        self._processes = [_start() for _ in range(cores)] if cores > 1 else []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(max(len(self._processes), 1))

    def __enter__(self) -> Drawers:
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
            process.stdin.close()
            process.stdout.close()
            process.wait()

    def begin(self, whole: Document) -> dict[str, Future[Drawn]]:
        """Draw every figure of the document; returns at once.

        Awaiting a picture raises InfrastructureError where its process has died.
        """
        look = looks(whole.methods)
        draw = self._elsewhere if self._processes else _tried
        figures = [block for block in whole.walk() if isinstance(block, Figure)]
        return {figure.name: self._threads.submit(draw, figure.plot, look) for figure in figures}

    def _elsewhere(self, plot: Plot, look: Mapping[str, Look]) -> Drawn:
        process = self._free.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((plot, look), process.stdin)
            process.stdin.flush()
            drawn: Drawn = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise InfrastructureError(
                f"the process that draws figures ended with status {process.wait()}; what it said is above"
            ) from None
        finally:
            self._free.put(process)
        return drawn


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.report.render.drawing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _tried(plot: Plot, look: Mapping[str, Look]) -> Drawn:
    try:
        return picture(plot, look)
    except Exception as error:
        return error


def main() -> None:
    """Draw each pickled plot of the standard input, and write its drawing to the standard output."""
    while True:
        try:
            plot, look = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        # Collecting garbage while a picture is drawn takes a fifth of the time.
        with uncollected():
            drawn = _tried(plot, look)
        pickle.dump(drawn, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
