"""Why questions have no score, in words."""

from __future__ import annotations

from harness.answers import commonest_reason, without_score
from tests.execute.fakes import sample


def test_the_commonest_reason_is_named() -> None:
    score, file = "ValueError: a score of 2.0 is not in 0..1", "RuntimeError: no\nfile"
    assert commonest_reason([None, score, None, file, score, None]) == f" (most often: {score})"
    assert commonest_reason([file, file]) == " (RuntimeError: no file)"
    assert commonest_reason([None, None]) == commonest_reason([]) == ""


def test_unparsed_answers_count_and_what_could_not_be_asked_does_not() -> None:
    outcomes = [
        sample().model_copy(update={"status": status, "question": status})
        for status in ("scored", "unparsed", "error", "out_of_memory")
    ]
    assert [one.status for one in without_score(outcomes)] == ["error", "out_of_memory"]
