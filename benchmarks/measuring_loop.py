"""What measuring costs: the latency loop around a real model's prefill against a bare loop of prefills.

Both loops alternate in one process and do equally many steps, warm-ups included. The figure is the median of
the ratios of neighbouring pairs with its 95 % bootstrap interval; processor time is given beside wall-clock
time, since it sees less of other processes. What the loop takes to time nothing is printed too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from harness import registry
from harness.collector import frozen
from harness.measure.latency import WARM_UPS, Repeats, Section, collect
from harness.measure.views import encode
from harness.measure.workload import Workload
from harness.models import build_model
from harness.spec import DEFAULT_BACKBONE
from harness.stream import Frame, Stream


def make_workload(method: str, frames: int, resolution: int) -> Workload:
    """Random weights and random pictures: the time does not depend on either."""
    model = build_model(method, {}, DEFAULT_BACKBONE, 0)
    rng = np.random.default_rng(0)
    pictures = [
        Frame(rng.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8), float(second))
        for second in range(frames)
    ]
    return Workload(
        model=model,
        stream=Stream(tuple(pictures)),
        features=encode(model, pictures, "cpu"),
        question="which digit is red now ?",
    )


def bare_loop(workload: Workload, steps: int) -> None:
    for _ in range(steps + WARM_UPS):
        workload.prefill(workload.model.session())


def measuring_loop(workload: Workload, steps: int) -> None:
    repeats = Repeats(least=steps, most=steps)
    collect(Section(workload.prefill, workload.model.session), workload.features.device, repeats)


def cost(loop: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    loop()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(workload: Workload, steps: int, pairs: int) -> dict[str, list[float]]:
    """The ratios measuring / bare of each pair; which of the two goes first alternates."""
    ratios: dict[str, list[float]] = {"wall": [], "processor": []}
    loops = (lambda: bare_loop(workload, steps), lambda: measuring_loop(workload, steps))
    for pair in range(pairs):
        if pair % 2:
            measured, bare = cost(loops[1]), cost(loops[0])
        else:
            bare, measured = cost(loops[0]), cost(loops[1])
        ratios["wall"].append(measured[0] / bare[0])
        ratios["processor"].append(measured[1] / bare[1])
    return ratios


def loop_microseconds(samples: int = 2000) -> float:
    """What the loop itself takes for one sample: the cost of timing nothing, its own collection included."""
    repeats = Repeats(least=samples, most=samples)
    wall, _ = cost(lambda: collect(Section(lambda _: None, lambda: None), torch.device("cpu"), repeats))
    return wall / samples * 1e6


def describe(ratios: Sequence[float]) -> str:
    """Median with its 95 % bootstrap interval, and the quartiles of the pairs."""
    low, median, high = statistics.quantiles(ratios, n=4)
    values = np.asarray(ratios)
    drawn = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    least, most = np.quantile(np.median(values[drawn], axis=1), [0.025, 0.975])
    return f"median {median:.4f} [{least:.4f}, {most:.4f}], quartiles of pairs {low:.3f} to {high:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    registry.discover()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measuring_loop", description=__doc__)
    parser.add_argument("--method", default="token_insertion", choices=tuple(registry.methods))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="prefills per loop")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of loops")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        workload = make_workload(options.method, options.frames, options.resolution)
    with torch.inference_mode(), frozen():
        bare_loop(workload, options.steps)
        ratios = compare(workload, options.steps, options.pairs)
        empty_us = [loop_microseconds() for _ in range(15)]
    if options.json:
        print(
            json.dumps({**vars(options), "torch": torch.__version__, "ratios": ratios, "empty_us": empty_us})
        )
        return
    print(
        f"{options.method}, {options.frames} frames, {options.steps} prefills a loop, {options.pairs} pairs"
    )
    for clock, values in ratios.items():
        print(f"measuring / bare, {clock:9} {describe(values)}")
    low, median, high = statistics.quantiles(empty_us, n=4)
    print(f"timing nothing: median {median:.2f} microseconds a sample, quartiles {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
