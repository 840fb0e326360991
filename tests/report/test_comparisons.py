"""Pairs of methods at one place, from answers with a known truth."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harness.records import Ok, SampleOutcome
from harness.report.comparisons import Comparison, compare
from harness.report.frame import records_to_frame
from tests.report import synthetic as s


def outcomes(values: list[float | None], per_clip: int = 1) -> list[SampleOutcome]:
    return [
        SampleOutcome(
            sample=f"clip{index // per_clip}",
            group=f"clip{index // per_clip}",
            question=str(index),
            kind="now",
            prediction="7",
            answer="7",
            status="scored",
            value=value,
            oracle_values={},
            chance=None,
        )
        for index, value in enumerate(values)
    ]


def compared(answers: dict[tuple[str, int], list[float | None]], per_clip: int = 1) -> list[Comparison]:
    """Compare the answers of (method, seed); each cell's accuracy is the mean of what was scored."""
    records, samples = [], {}
    for (method, seed), values in answers.items():
        key = s.key(method, seed=seed, weights=f"{seed:016x}", method_config={})
        scored = [value for value in values if value is not None]
        accuracy = s.accuracy(float(np.mean(scored)), len(scored), None)
        records.append(s.record(key, Ok(measures=s.measures(key, accuracy=accuracy))))
        samples[key.digest] = outcomes(values, per_clip)
    return compare(records_to_frame(records), samples)


def draws(seed: int, right: float, count: int = 300) -> list[float | None]:
    return [float(value) for value in np.random.default_rng(seed).random(count) < right]


def test_a_planted_order_is_borne_and_its_spread_over_seeds_is_there() -> None:
    answers = {("alpha", seed): draws(seed, 0.6) for seed in range(3)}
    answers |= {("beta", seed): draws(10 + seed, 0.8) for seed in range(3)}
    (found,) = compared(answers)
    assert (found.better, found.worse, found.borne) == ("beta", "alpha", True)
    assert found.seed_spread is not None
    assert found.seed_spread.models == 3
    assert found.seed_spread.mean == pytest.approx(found.difference.mean)
    assert found.difference.test == "sign flips mid-p"


def test_one_model_a_side_takes_mcnemars_test_and_is_not_borne() -> None:
    (found,) = compared({("alpha", 0): draws(0, 0.5), ("beta", 0): draws(1, 0.9)})
    assert found.difference.test == "McNemar mid-p"
    assert found.difference.gained is not None
    assert found.difference.lost is not None
    assert found.difference.gained > found.difference.lost
    assert found.adjusted_p < 0.05
    assert not found.borne
    assert found.seed_spread is None


def test_questions_without_a_score_are_left_out_of_the_pair() -> None:
    (found,) = compared({("alpha", 0): [1.0, None, 1.0, 0.0], ("beta", 0): [1.0, 1.0, None, 0.0]})
    assert (found.questions, found.difference.mean) == (2, 0.0)


def test_eleven_methods_are_compared_at_once() -> None:
    answers = {(f"method{index:02}", 0): draws(index, 0.7, count=2000) for index in range(11)}
    start = time.process_time()
    found = compared(answers, per_clip=8)
    assert time.process_time() - start < 3
    assert len(found) == 55
    assert all(one.adjusted_p >= one.difference.p_value for one in found)
