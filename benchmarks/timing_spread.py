"""How far apart two timings of the same method are: in turns in one process, and one process after the other.

The true ratio is 1. *Interleaved*: two copies of each method in one run of ``harness time``. *Apart*: the
same rounds with one method alone, the medians of two processes that follow each other. Both take turns here,
so that they meet the same load.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.spec import MethodSpec, parse_ints
from harness.stats.ratios import paired_ratio
from harness.timing.records import PHASES, Rounds, Timed, TimingRecord
from harness.timing.run import run_timing
from harness.timing.spec import TimingSpec


@dataclass(frozen=True, slots=True)
class Twice:
    """The ratio of two timings of one method; ``held`` where its interval contains 1, None without one."""

    how: str
    method: str
    phase: str
    frames: int
    ratio: float
    held: bool | None


def compare(methods: Sequence[MethodSpec], frames: int, rounds: int, seed: int) -> Iterator[Twice]:
    """One comparison of each kind for every method and phase."""
    doubled = tuple(method for method in methods for _ in range(2))
    together = _timed(_record(doubled, frames, rounds, seed))
    apart = [[_timed(_record((method,), frames, rounds, seed))[0] for _ in range(2)] for method in methods]
    for index, method in enumerate(methods):
        one, two = together[2 * index : 2 * index + 2]
        for phase in PHASES:
            found = paired_ratio(one.phases[phase].raw_ms, two.phases[phase].raw_ms)
            held = found.low <= 1 <= found.high
            yield Twice("interleaved", str(method), phase, frames, found.ratio, held)
            first, second = (_median(timed.phases[phase]) for timed in apart[index])
            yield Twice("apart", str(method), phase, frames, first / second, None)


def _record(methods: tuple[MethodSpec, ...], frames: int, rounds: int, seed: int) -> TimingRecord:
    with tempfile.TemporaryDirectory() as folder:
        spec = TimingSpec(
            methods=methods, frames=(frames,), rounds=rounds, order_seed=seed, out=Path(folder) / "run"
        )
        return run_timing(spec)[0]


def _timed(record: TimingRecord) -> list[Timed]:
    timed = [outcome for outcome in record.outcomes if isinstance(outcome, Timed)]
    assert len(timed) == len(record.outcomes), record.outcomes
    return timed


def _median(rounds: Rounds) -> float:
    return rounds.timing.median_ms


def table(found: Sequence[Twice]) -> str:
    lines = [
        "| how | phase | comparisons | off by, median | 95th percentile | largest | 1 in the interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for how in ("interleaved", "apart"):
        for phase in PHASES:
            chosen = [one for one in found if (one.how, one.phase) == (how, phase)]
            # A ratio and its reciprocal are off by the same.
            off = [max(one.ratio, 1 / one.ratio) - 1 for one in chosen]
            middle, high = np.quantile(off, [0.5, 0.95])
            told = [one.held for one in chosen if one.held is not None]
            held = f"{sum(told)} of {len(told)}" if told else "no interval"
            lines.append(
                f"| {how} | {phase} | {len(chosen)} | {middle:.1%} | {high:.1%} | {max(off):.1%} | {held} |"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timing_spread", description=__doc__)
    parser.add_argument("--methods", default="casa,vanilla_ca,token_insertion")
    parser.add_argument("--frames", default="8")
    parser.add_argument("--rounds", type=int, default=TimingSpec.rounds)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    methods = MethodSpec.parse_list([options.methods])
    found: list[Twice] = []
    loads = [os.getloadavg()[0]]
    for seed in range(options.repetitions):
        for frames in parse_ints("frames", [options.frames]):
            found += compare(methods, frames, options.rounds, seed)
        loads.append(os.getloadavg()[0])
    if options.json:
        print(json.dumps({**vars(options), "loads": loads, "found": [asdict(one) for one in found]}))
        return
    print(table(found))
    print(f"\nload of the machine, one minute's mean: {min(loads):.1f} to {max(loads):.1f}")


if __name__ == "__main__":
    main()
