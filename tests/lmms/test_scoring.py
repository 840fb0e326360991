"""One number per answer from what lmms-eval's tasks say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness.lmms.scoring import Aggregation, NoSampleScoreError, score_of
from harness.task import Score


def mean(items: Sequence[Any]) -> float:
    return float(sum(items) / len(items))


def scored(results: Mapping[str, Any], answer: str = "B", **aggregations: Aggregation) -> Score:
    return score_of(results, "score", aggregations, answer)


@pytest.mark.parametrize(
    ("results", "value"),
    [
        ({"exact_match": True}, 1.0),
        ({"anls": 0.75}, 0.75),
        ({"m": {"score": 1, "pred_answer": "A"}}, 1.0),
        ({"m": {"is_correct": False, "pred": "x"}}, 0.0),
        ({"m": {"pred": "b", "answer": "B"}}, 1.0),
        ({"m": {"pred": "b is it", "answer": "B"}}, 0.0),
        ({"submission": {"q": "B"}, "score": {"pred": 1, "ground_truth": "1"}}, 1.0),
        ({"submission": 1.0, "exact_match": 0.5}, 0.5),
    ],
)
def test_the_rules(results: Mapping[str, Any], value: float) -> None:
    assert scored(results) == Score(status="scored", value=value)


@pytest.mark.parametrize(
    "results",
    [
        {"m": {"score": 0.0, "pred_answer": ""}},
        {"m": {"correct": 0, "pred_id": -1}},
        {"m": {"is_correct": False, "pred_parsed": None}},
    ],
)
def test_what_the_task_could_not_read_is_unparsed(results: Mapping[str, Any]) -> None:
    assert scored(results) == Score(status="unparsed")


def test_an_empty_answer_that_is_wrong_is_unparsed() -> None:
    assert scored({"exact_match": 0.0}, answer=" ") == Score(status="unparsed")
    assert scored({"exact_match": 1.0}, answer="") == Score(status="scored", value=1.0)


def test_the_first_metric_of_the_task_counts() -> None:
    assert scored({"b": 0.25, "a": 0.5}, a=mean, b=mean) == Score(status="scored", value=0.5)


def test_an_aggregation_of_one_answer_counts_where_it_is_all_or_nothing() -> None:
    assert scored({"m": ["x"]}, m=lambda items: 100.0) == Score(status="scored", value=1.0)
    with pytest.raises(NoSampleScoreError, match="aggregates"):
        scored({"m": ["x"]}, m=lambda items: 14.3)


@pytest.mark.parametrize("results", [{}, {"m": {"text": "x"}}, {"m": 37.5}, {"m_submission": 1.0}])
def test_no_score_is_an_error_not_a_zero(results: Mapping[str, Any]) -> None:
    with pytest.raises(NoSampleScoreError):
        scored(results)
