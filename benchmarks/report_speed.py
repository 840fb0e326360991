"""Seconds and bytes of a report over thousands of records: ``python -m benchmarks.report_speed``.

The records come from formulas, with eleven methods, three seeds, ten numbers of frames, five resolutions and
three tasks; the store is made first and not timed. Times are those of each step of one run, in order.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.crew import cores
from harness.records import Outcome, Record
from harness.report import build
from harness.report.canvas import Drawing
from harness.report.contents import document
from harness.report.document import Document
from harness.report.evidence import gather
from harness.report.render import html, markdown
from harness.report.render.drawing import Drawers, Drawn
from harness.report.style import SHIPPED
from harness.store import Store
from tests.report import synthetic

TASKS = ("videoqa", "multi_image", "live_feed")
FRAMES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
RESOLUTIONS = (32, 48, 64, 96, 128)
SEEDS = (0, 1, 2)

Result = TypeVar("Result")


def records(tasks: tuple[str, ...] = TASKS) -> list[Record]:
    """A run of 4,950 records; token insertion runs out of memory at the largest sizes."""
    made = []
    for task, method, frames, size, seed in itertools.product(tasks, SHIPPED, FRAMES, RESOLUTIONS, SEEDS):
        key = synthetic.key(
            method, task=task, frames=frames, height=size, width=size, seed=seed, weights=f"{seed:016x}"
        )
        too_large = method == "token_insertion" and frames * size >= 32 * 128
        outcome: Outcome | None = synthetic.failed() if too_large else None
        made.append(synthetic.record(key, outcome))
    return made


def write(folder: Path, made: list[Record]) -> Path:
    """A store of these records with the answers to single questions."""
    store = Store(folder).open()
    for one in made:
        store.write(one, synthetic.samples(one))
    return folder


def measure(folder: Path, out: Path) -> None:
    """Print the seconds of every step; the whole is timed on its own and starts from the files."""

    def timed(name: str, step: Callable[[], Result]) -> Result:
        start, before = time.perf_counter(), _cpu_s()
        result = step()
        seconds = time.perf_counter() - start
        print(f"{name:>14} {seconds:7.1f} s, {_cpu_s() - before:7.1f} s of CPU", flush=True)
        return result

    evidence = timed("load", lambda: gather(folder))
    whole = timed("document", lambda: document(evidence, ()))
    drawings = timed("pictures", lambda: _drawn(whole))
    pictures = {name: drawing.webp for name, drawing in drawings.items() if isinstance(drawing, Drawing)}
    timed("page", lambda: html.render(whole, pictures))
    timed("markdown", lambda: markdown.render(whole))
    timed("whole report", lambda: build.build_report(folder, out))


def _drawn(whole: Document) -> dict[str, Drawn]:
    """Every picture, with the start of the processes that draw."""
    with Drawers() as drawers:
        return {name: drawing.result() for name, drawing in drawers.begin(whole).items()}


def _cpu_s() -> float:
    """Seconds of CPU of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Print the seconds of each step and the sizes of the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the store and the report here")
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="how many tasks, 1,650 records each")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.out or Path(temporary)
        made = records(TASKS[: given.tasks])
        run = folder / "run"
        if not run.exists():
            write(run, made)
        print(f"{len(made):,} records, {cores()} cores", flush=True)
        measure(run, folder / "report")
        for path in sorted((folder / "report").iterdir(), key=lambda path: -path.stat().st_size)[:8]:
            print(f"{path.stat().st_size / 2**20:12.2f} MiB  {path.name}")


if __name__ == "__main__":
    main()
