"""What remains of a lead without one kind of question, on answers with a planted truth."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.answers import Question, Scores, mean_over
from harness.left_out import LeftOut, left_out

CLIPS = 40
KINDS: dict[Question, str] = {
    (f"clip{clip}", kind): kind for clip in range(CLIPS) for kind in ("now", "past", "when")
}
GROUPS = {question: question[0] for question in KINDS}


def model(shift: int = 0, **right: float) -> Scores:
    """One model: right on so many of the clips by kind, counted from clip ``shift``."""
    return {
        (sample, kind): float((int(sample[4:]) + shift) % CLIPS < right[kind] * CLIPS)
        for sample, kind in KINDS
    }


def alone(better: list[Scores], worse: list[Scores]) -> Mapping[str, LeftOut]:
    (found,) = left_out([(better, worse)], KINDS, GROUPS)
    return {one.kind: one for one in found}


def test_a_lead_from_one_kind_turns_without_it_and_stands_without_the_others() -> None:
    better = [model(shift, now=0.8, past=0.7, when=1.0) for shift in (0, 1)]
    worse = [model(shift, now=0.8, past=0.8, when=0.1) for shift in (0, 1)]
    found = alone(better, worse)
    assert list(found) == ["now", "past", "when"]
    assert {kind for kind, one in found.items() if one.turned} == {"when"}
    assert {kind for kind, one in found.items() if not one.stands} == {"when"}
    assert (found["when"].asked, found["when"].remaining) == (CLIPS, 2 * CLIPS)
    assert found["when"].means == pytest.approx((0.75, 0.8))
    assert found["when"].turned_clearly == (found["when"].p_value < 0.05)


def test_what_is_left_is_the_mean_over_the_other_questions() -> None:
    better = [model(now=0.9, past=0.6, when=0.3), model(3, now=0.5, past=0.7, when=0.2)]
    worse = [model(1, now=0.1, past=0.2, when=0.3)]
    for kind, one in alone(better, worse).items():
        for accuracies, models in ((one.better, better), (one.worse, worse)):
            wanted = [mean_over([score for key, score in each.items() if key[1] != kind]) for each in models]
            assert list(accuracies) == pytest.approx(wanted)


def test_models_that_overlap_without_a_kind_let_the_order_fall() -> None:
    better = [model(now=0.9, past=0.9, when=0.9), model(now=0.9, past=0.5, when=0.9)]
    worse = [model(now=0.9, past=0.9, when=0.1), model(now=0.4, past=0.5, when=0.1)]
    found = alone(better, worse)
    assert not found["when"].turned
    assert not found["when"].stands
    assert not found["when"].turned_clearly


def test_equal_answers_of_the_rest_are_no_order_and_no_turn() -> None:
    found = alone([model(now=0.5, past=0.5, when=1.0)], [model(now=0.5, past=0.5, when=0.0)])
    assert found["when"].p_value == 1
    assert not found["when"].turned
    assert not found["when"].stands


def test_one_kind_leaves_nothing_and_only_shared_questions_count() -> None:
    kinds = dict.fromkeys(KINDS, "now")
    right = model(now=1.0, past=1.0, when=1.0)
    assert left_out([([right], [right])], kinds, GROUPS) == [()]
    assert left_out([([], [])], kinds, GROUPS) == [()]
    some = {question: score for question, score in right.items() if question[1] != "past"}
    found = alone([right], [some])
    assert list(found) == ["now", "when"]
    assert {one.remaining for one in found.values()} == {CLIPS}


def test_pairs_do_not_depend_on_what_is_asked_along_with_them() -> None:
    better = [model(shift, now=0.8, past=0.7, when=1.0) for shift in (0, 1)]
    worse = [model(shift, now=0.8, past=0.8, when=0.1) for shift in (0, 1)]
    pairs = [(better, worse), (worse, better)] * 20
    found = left_out(pairs, KINDS, GROUPS)
    assert len(found) == 40
    assert all(one == found[0] for one in found[::2])
    (alone_,) = left_out([(better, worse)], KINDS, GROUPS)
    assert [one.stands for one in found[0]] == [one.stands for one in alone_]
