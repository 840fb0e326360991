"""Every picture of a report, drawn by processes beside this one, as many as there are cores.

They are commands of their own and not forks: a program that has threads, or no guard around its main part,
can make a report too. ``python -m harness.report.render.drawing`` draws what it reads.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence

from harness.errors import InfrastructureError
from harness.report.canvas import Drawing
from harness.report.document import Document, Figure
from harness.report.plots.model import Plot
from harness.report.render.static import picture
from harness.report.style import Look, looks
from harness.store import uncollected

FEW = 4
"""Figures for which starting processes takes longer than drawing."""


Drawn = Drawing | Exception
"""A picture, or why there is none."""


def draw_all(whole: Document) -> dict[str, Drawn]:
    """Every figure's picture by its name, or why there is none.

    Raises InfrastructureError where a process dies.
    """
    figures = [block for block in whole.walk() if isinstance(block, Figure)]
    look = looks(whole.methods)
    workers = min(len(os.sched_getaffinity(0)), len(figures))
    if workers < 2 or len(figures) < FEW:
        return {figure.name: _tried(figure.plot, look) for figure in figures}
    names = [figure.name for figure in figures]
    drawn: dict[str, Drawn] = {}
    started = [_start([figure.plot for figure in figures[place::workers]], look) for place in range(workers)]
    for place, process in enumerate(started):
        drawn |= zip(names[place::workers], _read(process), strict=True)
    return {name: drawn[name] for name in names}


def _start(plots: Sequence[Plot], look: Mapping[str, Look]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.report.render.drawing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((plots, look)))
    process.stdin.close()
    return process


def _read(process: subprocess.Popen[bytes]) -> list[Drawn]:
    assert process.stdout is not None
    with process.stdout:
        packed = process.stdout.read()
    if process.wait():
        raise InfrastructureError(
            f"the process that draws figures ended with status {process.returncode}; what it said is above"
        )
    drawings: list[Drawn] = pickle.loads(packed)
    return drawings


def _tried(plot: Plot, look: Mapping[str, Look]) -> Drawn:
    try:
        return picture(plot, look)
    except Exception as error:
        return error


def _alone(plot: Plot, look: Mapping[str, Look]) -> Drawn:
    """A picture without garbage collection while it is drawn, which takes a fifth of the time."""
    with uncollected():
        return _tried(plot, look)


def main() -> None:
    """Draw the pickled plots of the standard input, and write the drawings to the standard output."""
    plots, look = pickle.load(sys.stdin.buffer)
    pickle.dump([_alone(plot, look) for plot in plots], sys.stdout.buffer)


if __name__ == "__main__":
    main()
