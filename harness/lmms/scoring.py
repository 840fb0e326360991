"""One number per answer, from what an lmms-eval task says of it.

Its ``process_results`` gives a number, or a dictionary that a later aggregation understands. The rule, in
this order, over the metrics in the order in which the task lists them:

1. a number in 0..1, or a truth value;
2. in a dictionary, the task's ``score_key`` ("score"), or a key that says right or wrong (``CORRECT``);
3. in a dictionary, a prediction (``GIVEN``) beside a truth (``TRUTH``), equal as text without regard to case;
4. where the aggregation of this one answer alone gives exactly 0, 1 or 100.

A metric for submission to a server scores nothing. An answer that the task could not read (its prediction is
empty, or -1) is unparsed. Where no rule holds the answer is an error that says so, and the task's own
aggregates, which are kept beside the means, are what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.task import Score

CORRECT = ("is_correct", "correct", "acc", "accuracy", "exact_match", "match", "hit", "rating")
GIVEN = ("pred", "parsed_pred", "pred_answer", "pred_id", "pred_parsed", "parsed_answer", "prediction")
TRUTH = ("answer", "answer_id", "gt_answer", "ground_truth", "gt_content", "gt", "target", "label")

Aggregation = Callable[[Sequence[Any]], Any]


class NoSampleScoreError(HarnessError):
    """A task whose metrics exist for all answers together only."""


def is_submission(metric: str) -> bool:
    """Whether a metric only collects answers for a server that scores them."""
    return "submission" in metric.lower() or "submit" in metric.lower()


def score_of(
    results: Mapping[str, Any], score_key: str, aggregations: Mapping[str, Aggregation], answer: str
) -> Score:
    """The score of one answer, with the task's metrics in the order of ``aggregations``.

    Raises NoSampleScoreError where no rule finds one.
    """
    candidates = list(_candidates(results, list(aggregations)))
    for _, value in candidates:
        number = _number(value) if not isinstance(value, Mapping) else _in_dictionary(value, score_key)
        if number is not None:
            return _as_score(number, value, answer)
    for metric, value in candidates:
        number = _alone(aggregations.get(metric), value)
        if number is not None:
            return _as_score(number, value, answer)
    raise NoSampleScoreError(
        f"its metrics ({', '.join(results) or 'none'}) give no score of a single answer; see the aggregates"
    )


def _candidates(results: Mapping[str, Any], metrics: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What the task lists first, then what it says besides."""
    for metric in dict.fromkeys([*metrics, *results]):
        if metric in results and not is_submission(metric):
            yield metric, results[metric]


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if not isinstance(value, str) and 0.0 <= number <= 1.0 else None


def _in_dictionary(value: Mapping[str, Any], score_key: str) -> float | None:
    for key in (score_key, *CORRECT):
        if key in value and (number := _number(value[key])) is not None:
            return number
    given = next((value[key] for key in GIVEN if key in value), None)
    truth = next((value[key] for key in TRUTH if key in value), None)
    if given is None or truth is None:
        return None
    return float(_plain(given) == _plain(truth))


def with_correct(value: Any) -> Any:
    """A dictionary of a prediction beside a truth with the key ``correct`` that says whether they are equal.

    The scorer of PerceptionTest's choices by likelihood leaves it out, and its metric asks for it.
    """
    if not isinstance(value, Mapping) or "correct" in value:
        return value
    equal = _in_dictionary({key: value[key] for key in value if key in (*GIVEN, *TRUTH)}, "")
    return value if equal is None else {**value, "correct": int(equal)}


def _plain(value: object) -> str:
    return str(value).strip().lower()


def _alone(aggregation: Aggregation | None, value: object) -> float | None:
    if aggregation is None:
        return None
    try:
        number = float(aggregation([value]))
    except Exception:  # Written for all answers together: pairs, known categories, a full count.
        return None
    return {0.0: 0.0, 1.0: 1.0, 100.0: 1.0}.get(number)


def _as_score(number: float, value: object, answer: str) -> Score:
    read = (
        next((value[key] for key in GIVEN if key in value), answer) if isinstance(value, Mapping) else answer
    )
    if number == 0.0 and (read is None or read == -1 or not str(read).strip()):
        return Score(status="unparsed")
    return Score(status="scored", value=number)
