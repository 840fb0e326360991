"""What counting memory takes: processor seconds per scenario of a grid, and what they depend on.

*grid*: prefill of three methods over frames 1, 2, ..., 1,024 at a published size, on tensors without storage,
several times over; the first time holds what a process does once. *observers*: the same pass with operations
and traffic against the peak alone. *substrate*: tensors without storage against real ones, at the shipped
small size. Both ratios are of processor time, taken side by side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from unittest import mock

from benchmarks.interleaved import Ratio, compare
from harness.collector import frozen
from harness.counting.records import CountKey, CountRecord, Substrate
from harness.counting.run import count_all, count_one, scenarios
from harness.counting.scenario import Counter
from harness.counting.spec import CountSpec
from harness.measure.memory import host_peak_bytes
from harness.spec import MethodSpec
from harness.units import bytes_text

METHODS = ("token_insertion", "vanilla_ca", "casa")
FRAMES = tuple(2**n for n in range(11))
SIZE = CountSpec(
    methods=tuple(map(MethodSpec, METHODS)), backbone="helium1-2b", frames=FRAMES, resolutions=((448, 448),)
)
SMALL = replace(SIZE, backbone=CountSpec.backbone, frames=(1, 4, 16), resolutions=((64, 64),))


class NotCountedError(RuntimeError):
    """A scenario has no peak, so its time means nothing."""


def checked(record: CountRecord) -> CountRecord:
    if record.peak is None:
        raise NotCountedError(f"{record.key.method}, {record.key.frames} frames: {record.outcome}")
    return record


def grid(spec: CountSpec, repetitions: int) -> dict[str, Any]:
    """Processor seconds of every scenario and of the whole grid, once per repetition."""
    keys = scenarios(spec)
    cells: dict[tuple[str, int], list[float]] = {(key.method, key.frames): [] for key in keys}
    processor, wall = [], []
    for _ in range(repetitions):
        begin, since = time.process_time(), time.perf_counter()
        for record in map(checked, count_all(keys)):
            cells[record.key.method, record.key.frames].append(record.cpu_seconds)
        processor.append(time.process_time() - begin)
        wall.append(time.perf_counter() - since)
    return {
        "cells": [{"method": m, "frames": n, "processor_s": spent} for (m, n), spent in cells.items()],
        "processor_s": processor,
        "wall_s": wall,
        "host_peak_bytes": host_peak_bytes(),
    }


@contextmanager
def peak_alone() -> Iterator[None]:
    """Count no operations and no traffic inside."""

    def phase(self: Counter, name: str) -> None:
        self.memory.begin_phase(name)
        self.memory.observers = ()

    with mock.patch.object(Counter, "phase", phase):
        yield


def observers(key: CountKey, repetitions: int) -> Ratio:
    """A scenario with operations and traffic over the same with its peak alone."""

    def alone() -> object:
        with peak_alone():
            return checked(count_one(key))

    return compare(lambda: lambda: checked(count_one(key)), lambda: alone, 0.0, repetitions)


def substrate(key: CountKey, repetitions: int) -> Ratio:
    """A scenario without storage over the same on real tensors."""

    def on(where: Substrate) -> Callable[[], object]:
        return lambda: checked(count_one(key, where))

    return compare(lambda: on("meta"), lambda: on("cpu"), 0.0, repetitions)


def measure(spec: CountSpec, repetitions: int, ratios: int) -> dict[str, Any]:
    with frozen():
        results = {"repetitions": repetitions, **grid(spec, repetitions)}
        last = {key.method: key for key in scenarios(spec)}
        small = {key.method: key for key in scenarios(SMALL)}
        results["observers"] = {m: observers(key, ratios).as_json() for m, key in last.items()}
        results["substrate"] = {m: substrate(key, ratios).as_json() for m, key in small.items()}
    return results


def spread(values: Sequence[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def show(results: dict[str, Any]) -> None:
    cells = results["cells"]
    methods = list(dict.fromkeys(cell["method"] for cell in cells))
    by_place = {(cell["method"], cell["frames"]): cell["processor_s"] for cell in cells}
    print(f"processor seconds, median [least, greatest] of {results['repetitions']}")
    print("| frames | " + " | ".join(methods) + " |")
    print("|---" * (1 + len(methods)) + "|")
    for frames in dict.fromkeys(cell["frames"] for cell in cells):
        print(f"| {frames} | " + " | ".join(spread(by_place[m, frames]) for m in methods) + " |")
    print(f"whole grid: {spread(results['processor_s'])} processor, {spread(results['wall_s'])} wall-clock")
    host = results["host_peak_bytes"]
    print(f"peak host memory: {'unknown' if host is None else bytes_text(host)}")
    for name, title in (
        ("observers", "with operations and traffic / peak alone"),
        ("substrate", "without storage / real"),
    ):
        for method, ratio in results[name].items():
            print(f"{title}, {method}: {Ratio(**cast('dict[str, Any]', ratio))}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counting_speed", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3, help="of the grid")
    parser.add_argument("--ratios", type=int, default=5, help="repetitions of a ratio")
    parser.add_argument("--quick", action="store_true", help="the small size and few frames")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    results = measure(SMALL if options.quick else SIZE, options.repetitions, options.ratios)
    if options.json:
        print(json.dumps(results))
    else:
        show(results)


if __name__ == "__main__":
    main()
