"""Timing records for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.records import Failed
from harness.timing.records import PHASES, MethodOutcome, Rounds, Timed, TimedMethod, TimingKey, TimingRecord
from tests.execute.cells import ENVIRONMENT

FAILED = Failed(failure="out_of_memory", message="planted\nmore of it")


def key(methods: Sequence[str] = ("one", "two"), frames: int = 1, **changes: object) -> TimingKey:
    values: dict[str, object] = {
        "methods": tuple(TimedMethod(method=name, method_config={}, weights="random") for name in methods),
        "task": "counting",
        "task_version": 1,
        "task_config": {},
        "frames": frames,
        "height": 8,
        "width": 16,
        "backbone": "toy",
        "seed": 0,
        "view_seed": 0,
        "limit": 8,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
    }
    return TimingKey.model_validate(values | changes)


def timed(raw_ms: Sequence[float]) -> Timed:
    return Timed(phases={phase: Rounds(raw_ms=tuple(raw_ms), inner=1) for phase in PHASES})


def record(
    times: Mapping[str, Sequence[float] | Failed], frames: int = 1, rounds: int = 7, **changes: object
) -> TimingRecord:
    """A record whose methods took these milliseconds in every phase."""
    outcomes: list[MethodOutcome] = [one if isinstance(one, Failed) else timed(one) for one in times.values()]
    return TimingRecord(
        key=key([name.partition(" ")[0] for name in times], frames, **changes),
        environment=ENVIRONMENT,
        rounds=rounds,
        order_seed=0,
        frames_digest="0" * 16,
        encode=None,
        load_before=(0.5, 2.0, 3.0),
        load_after=None,
        outcomes=tuple(outcomes),
        started_at="2030-01-01T00:00:00+00:00",
        duration_s=1.5,
    )


def around(middle: float, rounds: int = 7, seed: int = 0) -> tuple[float, ...]:
    """Times that differ by a few percent."""
    spread = np.random.default_rng(seed).normal(0, 0.02, rounds)
    return tuple(float(ms) for ms in middle * np.exp(spread))
