"""``check_task``: the shipped tasks have every property, and each way to break one is found and named."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.stream import Frame, Stream
from harness.task import Question, Sample, Score, View, exact_match
from harness.testing import TASK_PROPERTIES, TaskPropertyError, check_task
from tests.train.colour_task import COLOURS, ColourTask

Broken = type[ColourTask]
_calls = itertools.count()


def change(samples: Sequence[Sample], question: dict[str, Any] | None = None, **fields: Any) -> list[Sample]:
    """Samples with other fields, and questions with others."""
    return [
        dataclasses.replace(
            sample,
            questions=tuple(dataclasses.replace(one, **(question or {})) for one in sample.questions),
            **fields,
        )
        for sample in samples
    ]


class SameNames(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return change(super().samples(view), id="one")


class Refused(ColourTask):
    def check_view(self, view: View) -> None:
        raise UsageError("nothing is shown")


class OtherSize(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return super().samples(dataclasses.replace(view, height=16))


class MoreFrames(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return super().samples(dataclasses.replace(view, frames=5))


class Unseeded(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return change(super().samples(view), group=str(next(_calls)))


class HashedOrder(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        names = [str(number) for number in range(view.limit or 9)]
        return change(super().samples(view), group=str(list({*names, "more", "names"})))


class OfThisProcess(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        assert not sys.argv[0].endswith("elsewhere.py")
        return super().samples(view)


class NoLimit(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return super().samples(dataclasses.replace(view, limit=None))


class LimitInTheSeed(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return super().samples(dataclasses.replace(view, seed=view.limit or 0))


class SizeInTheSeed(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return super().samples(dataclasses.replace(view, seed=view.height))


class WrongAnswers(ColourTask):
    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(f"{prediction}!", question)


class NoScore(ColourTask):
    def score(self, prediction: str, question: Question) -> Score:
        return 1.0 if prediction == question.answer else Score(status="unparsed")  # type: ignore[return-value]


class FormIsTaken(ColourTask):
    def score(self, prediction: str, question: Question) -> Score:
        return Score(status="scored", value=float(prediction.split()[0] == question.answer))


class Moody(ColourTask):
    def score(self, prediction: str, question: Question) -> Score:
        if prediction == question.answer:
            return Score(status="scored", value=1.0)
        return Score(status="scored", value=next(_calls) % 2 / 2)


class LowChance(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return change(super().samples(view), {"chance": 0.01})


class NamedOracles(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        return change(super().samples(view), {"oracles": {"blind": "guesses"}})


class TooFew(ColourTask):
    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        return super().training_samples(view, rng, 1)


class OwnGenerator(ColourTask):
    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        return super().training_samples(view, np.random.default_rng(1), count)


class SameFrames(ColourTask):
    def _draw(self, view: View, rng: np.random.Generator, count: int, split: str) -> list[Sample]:
        frame = Frame(np.zeros((view.height, view.width, 3), np.uint8), 0.0)
        drawn = super()._draw(view, rng, count, split)
        if view.frames == 1:
            return drawn
        return [
            dataclasses.replace(sample, stream=Stream((frame, *sample.stream.items[1:]))) for sample in drawn
        ]


class NewWords(ColourTask):
    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        return change(super().training_samples(view, rng, count), {"prompt": "red zebra now ?"})


class Raises(ColourTask):
    def samples(self, view: View) -> Sequence[Sample]:
        raise ZeroDivisionError("planted")


CASES: dict[Broken, tuple[str, str]] = {
    SameNames: ("rules", "share the id 'one'"),
    Refused: ("rules", "nothing is shown"),
    Raises: ("rules", "ZeroDivisionError: planted"),
    OtherSize: ("shown", "shows a frame of 16x64"),
    MoreFrames: ("shown", "shows 5 frames of 1 asked for"),
    Unseeded: ("repeatable", "has group"),
    HashedOrder: ("processes", "sample 'test-0' is another one in another process"),
    OfThisProcess: ("processes", "another process fails: AssertionError"),
    NoLimit: ("limit", "limit=1 gives 24 samples"),
    LimitInTheSeed: ("limit", "with limit=1"),
    SizeInTheSeed: ("sizes", "at 128x128"),
    WrongAnswers: ("truth", "gives unparsed"),
    NoScore: ("truth", "it gives 1.0, not a harness.task.Score"),
    FormIsTaken: ("scorer", "the scorer fails on '': IndexError"),
    Moody: ("scorer", "another score when it is asked again"),
    LowChance: ("chance", "has chance 0.01, but its 4 choices score 0.25"),
    NamedOracles: ("oracles", "the answer 'guesses' of oracle 'blind' is not scored"),
    TooFew: ("training", "1 samples, not the 4"),
    OwnGenerator: ("training", "two generators draw the same frames"),
    SameFrames: ("fresh", "1 frame(s) of the evaluation are shown in training"),
    NewWords: ("words", "vocabulary() lacks 'zebra'"),
}


IN_ONE_PROCESS = [name for name in TASK_PROPERTIES if name != "processes"]
"""What takes no seconds."""


@pytest.mark.parametrize("task", ["videoqa", "multi_image"])
def test_shipped_tasks_have_every_property(task: str) -> None:
    assert check_task(task, frames=(4,), sizes=((32, 48),), limit=4) == tuple(TASK_PROPERTIES)


def test_a_task_of_ones_own_has_every_property() -> None:
    assert check_task(ColourTask) == tuple(TASK_PROPERTIES)


@pytest.mark.parametrize("task", CASES)
def test_a_broken_property_is_found_and_named(task: Broken) -> None:
    name, found = CASES[task]
    asked = list(TASK_PROPERTIES) if name == "processes" else IN_ONE_PROCESS
    with pytest.raises(TaskPropertyError) as caught:
        check_task(task, properties=asked)
    assert caught.value.property == name
    assert found in caught.value.found
    first, *_ = str(caught.value).splitlines()
    assert first == f"task {task.__name__} breaks {name!r}: {TASK_PROPERTIES[name].statement}"
    for other in set(IN_ONE_PROCESS) - {name, *caught.value.also}:
        assert check_task(task, properties=[other]) == (other,)


def test_every_property_is_broken_by_one_of_them() -> None:
    assert {name for name, _ in CASES.values()} == set(TASK_PROPERTIES)


def test_what_failed_can_be_run_again() -> None:
    with pytest.raises(TaskPropertyError) as caught:
        check_task(MoreFrames, frames=(8, 2), sizes=((16, 32),), limit=3)
    (line,) = [line for line in str(caught.value).splitlines() if "again: " in line]
    call = line.partition("check_task(..., ")[2].removesuffix(")")
    again: Callable[..., object] = eval(f"lambda check, task: check(task, {call})")
    with pytest.raises(TaskPropertyError) as second:
        again(check_task, MoreFrames)
    assert str(second.value) == str(caught.value)


def test_not_everything_is_asked_of_every_task() -> None:
    class Evaluated(ColourTask):
        training_samples = ColourTask.__mro__[1].training_samples  # type: ignore[attr-defined]

    checked = check_task(Evaluated)
    # No other process can import a class that stands in a function.
    assert set(TASK_PROPERTIES) - set(checked) == {"processes", "training", "fresh", "words"}


def test_settings_and_names_are_checked() -> None:
    with pytest.raises(UsageError, match="unknown property 'rulez': did you mean 'rules'"):
        check_task(ColourTask, properties=["rulez"])
    with pytest.raises(UsageError, match="unknown task 'videoq'"):
        check_task("videoq")
    with pytest.raises(UsageError, match="clips=0"):
        check_task("videoqa:clips=0")
    assert check_task("videoqa:clips=2", {"clips": 1}, properties=["rules"], frames=[1]) == ("rules",)


def test_likelihood_questions_are_scored_by_losses() -> None:
    class Compared(ColourTask):
        def samples(self, view: View) -> Sequence[Sample]:
            return change(super().samples(view), {"by_likelihood": True})

        def score(self, prediction: str, question: Question) -> Score:
            assert prediction in COLOURS
            return exact_match(prediction, question)

    checked = check_task(Compared, properties=["rules", "truth", "scorer", "chance"])
    assert checked == ("rules", "truth", "scorer", "chance")
