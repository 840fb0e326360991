"""Stores whose truth is known: every answer is planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import Measures, Ok, Outcome, SampleOutcome
from harness.store import Store
from tests.report import synthetic as s

QUESTIONS = 240
KINDS = ("now", "past")

Answer = Callable[[int], float | None]
"""From the number of a question to its score; None where it was not scored."""


def rate(seed: int, right: float, now: float | None = None) -> Answer:
    """Right with a probability, which may be another one for questions of the kind ``now``."""
    draws = np.random.default_rng(seed).random(QUESTIONS)
    return lambda index: float(draws[index] < (right if index % 2 or now is None else now))


def cell(
    folder: Path,
    method: str,
    answer: Answer,
    *,
    questions: range = range(QUESTIONS),
    per_clip: int = 1,
    outcome: Outcome | None = None,
    measures: Mapping[str, Any] | None = None,
    **key: Any,
) -> None:
    """Write one cell; question i is of kind ``KINDS[i % 2]`` and of clip ``i // per_clip``."""
    named = s.key(method, **{"method_config": {}, "weights": f"{key.get('seed', 0):016x}"} | key)
    samples = []
    for index in questions:
        value = answer(index)
        samples.append(
            SampleOutcome(
                sample=f"clip{index // per_clip}",
                group=f"clip{index // per_clip}",
                question=f"q{index}",
                kind=KINDS[index % 2],
                prediction="7",
                answer="7",
                status="error" if value is None else "scored",
                value=value,
                oracle_values={},
                chance=None,
            )
        )
    found = Ok(measures=_measures(named, **(measures or {})))
    Store(folder).open().write(s.record(named, outcome or found), samples)


def _measures(key: Any, **changes: Any) -> Measures:
    return s.measures(key, **changes)
