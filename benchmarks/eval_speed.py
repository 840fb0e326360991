"""Where an evaluation's time goes: wall-clock seconds of each stage, with an empty cache and then again.

The second run finds the views of the first in the cache and writes to another folder, so that every cell is
measured anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from harness.execute.observer import Observer
from harness.execute.run import run_eval
from harness.plan import Plan, PlannedCell
from harness.records import Ok, Record
from harness.spec import EvalSpec, MethodSpec, TaskSpec, parse_ints, parse_resolutions


class Stopwatch(Observer):
    """Adds up the seconds between one message and the next under the message's first word."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage = "planning"
        self._since = time.perf_counter()

    def begin(self, plan: Plan, kept: AbstractSet[str]) -> None:
        self._enter("starting")

    def cell_started(self, cell: PlannedCell) -> None:
        self._enter("starting")

    def stage(self, text: str) -> None:
        self._enter(text.split()[0])

    def cell_ended(self, record: Record) -> None:
        self._enter("between cells")

    def end(self) -> None:
        self._enter("end")

    def _enter(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def run(spec: EvalSpec) -> dict[str, object]:
    """One run: seconds in all and by stage, and how many cells were measured."""
    watch = Stopwatch()
    begin = time.perf_counter()
    records = run_eval(spec, watch)
    return {
        "total_s": round(time.perf_counter() - begin, 2),
        "cells": len(records),
        "measured": sum(isinstance(record.outcome, Ok) for record in records),
        "stages_s": {stage: round(seconds, 2) for stage, seconds in watch.seconds.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run twice and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eval_speed", description=__doc__)
    parser.add_argument("--task", default="videoqa")
    parser.add_argument("--methods", default="", help="names separated by commas; all by default")
    parser.add_argument("--frames", default="1,2,4,8")
    parser.add_argument("--resolution", default="64")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--weights", default="trained", choices=("trained", "random"))
    parser.add_argument("--threads", type=int, default=EvalSpec.threads)
    parser.add_argument("--plugin", type=Path, action="append", default=[])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    runs = {}
    with tempfile.TemporaryDirectory(prefix="eval-speed-") as folder:
        for name in ("cold", "warm"):
            spec = EvalSpec(
                tasks=(TaskSpec(options.task),),
                methods=tuple(MethodSpec(method) for method in options.methods.split(",") if method),
                frames=parse_ints("frames", [options.frames]),
                resolutions=parse_resolutions([options.resolution]),
                limit=options.limit,
                weights=options.weights,
                threads=options.threads,
                plugins=tuple(options.plugin),
                out=Path(folder, name),
                cache_dir=Path(folder, "cache"),
            )
            runs[name] = run(spec)
    if options.json:
        print(json.dumps({**vars(options), "runs": runs}, default=str))
        return
    for name, result in runs.items():
        print(f"{name} cache: {result['total_s']} s for {result['measured']} of {result['cells']} cells")
        stages = result["stages_s"]
        assert isinstance(stages, dict)
        print("  " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items()))


if __name__ == "__main__":
    main()
