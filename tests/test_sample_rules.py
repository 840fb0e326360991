"""What a task from outside may get wrong is named with the value, the rule and the fix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.errors import UsageError
from harness.sample_rules import SampleRules
from harness.task import Question, Sample, View
from tests.measure.pictures import Pictures, PicturesConfig

VIEW = View(frames=2, height=8, width=8)
GOOD = Question(id="q", kind="now", prompt="which?", answer="red", chance=0.5, choices=("red", "blue"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chance": 33.0}, r"question 'q' has chance=33.0; .* in 0..1, or None"),
        ({"chance": -0.1}, "chance=-0.1"),
        ({"chance": float("nan")}, "chance=nan"),
        ({"chance": "high"}, "chance='high'"),
        ({"answer": "green"}, "answer='green'; give one of its choices, 'red', 'blue'"),
        ({"answer": 3}, "answer=3; give a text"),
        ({"prompt": None}, "prompt=None"),
        ({"prompt": "half \udcff"}, r"prompt='half \\udcff'; give valid Unicode"),
        ({"id": ""}, "id=''"),
        ({"kind": ""}, "kind=''"),
        ({"choices": "red"}, "choices='red'; give a tuple of texts"),
        ({"choices": ("red", 3)}, "choices="),
        ({"max_new_tokens": 0}, "max_new_tokens=0; give 1 or more"),
        ({"max_new_tokens": 1.5}, "max_new_tokens=1.5"),
    ],
)
def test_a_question_checks_itself(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(GOOD, **change)


@pytest.mark.parametrize(
    "change", [{"answer": " RED "}, {"answer": ""}, {"choices": ()}, {"chance": None}, {"chance": 0}]
)
def test_questions_that_are_as_they_should_be(change: dict[str, Any]) -> None:
    assert dataclasses.replace(GOOD, **change).id == "q"


def samples() -> list[Sample]:
    return list(Pictures(PicturesConfig(clips=2)).samples(VIEW))


def with_questions(sample: Sample, **change: Any) -> Sample:
    return dataclasses.replace(
        sample, questions=tuple(dataclasses.replace(one, **change) for one in sample.questions)
    )


CASES: dict[str, tuple[Callable[[list[Sample]], Sequence[object]], str]] = {
    "no sample": (lambda made: [*made, None], "gives None as a sample; give a harness.task.Sample"),
    "samples of one name": (lambda made: [made[0], made[0]], "samples that share the id 'clip0'"),
    "questions of one name": (
        lambda made: [with_questions(made[0], id="q")],
        "questions of sample 'clip0' that share the id 'q'",
    ),
    "a kind that is not declared": (
        lambda made: [with_questions(made[0], kind="nwo")],
        "kind 'nwo' about sample 'clip0', but its kinds are now, then; add it",
    ),
    "a group that is no text": (
        lambda made: [dataclasses.replace(made[0], group=3)],  # type: ignore[arg-type]
        "sample 'clip0' with group=3; give a str",
    ),
    "a stream that is none": (
        lambda made: [dataclasses.replace(made[0], stream=made[0].stream.items)],  # type: ignore[arg-type]
        "with stream=.*; give a Stream",
    ),
    "a question that is none": (
        lambda made: [dataclasses.replace(made[0], questions=("what?",))],  # type: ignore[arg-type]
        r"with questions\[0\]='what\?'; give a Question",
    ),
    "likelihood without choices": (
        lambda made: [with_questions(made[0], by_likelihood=True)],
        "asks by likelihood about sample 'clip0'",
    ),
    "no samples": (lambda _: [], "has no samples for 2 frames at 8x8"),
}


@pytest.mark.parametrize("case", CASES)
def test_samples_that_break_a_rule_are_named(case: str) -> None:
    change, message = CASES[case]
    rules = SampleRules("mine", Pictures())
    with pytest.raises(UsageError, match=f"(?s)task 'mine' .*{message}"):
        take(rules, change(samples()))


def take(rules: SampleRules, given: Sequence[object]) -> None:
    for sample in given:
        rules.check(sample)  # type: ignore[arg-type]
    rules.finish(VIEW)


def test_a_task_without_kinds_takes_those_of_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pictures, "kinds", {})
    rules = SampleRules("mine", Pictures())
    take(rules, [with_questions(sample, kind="anything") for sample in samples()])
