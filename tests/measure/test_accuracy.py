"""Scores of answers: unparsed is wrong, an error is nothing, and no data is None."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from harness.measure.accuracy import Scorer, aggregates, answer_all, by_kind, summarise
from harness.measure.cache import EntryCache
from harness.measure.views import EncodedView, load_view
from harness.records import SampleOutcome
from harness.stats.intervals import wilson
from harness.task import Question, Sample, Score, View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures, PicturesConfig

ASKED = View(frames=2, height=32, width=32)


class Answering:
    """Stands for a model: gives every question its number within the sample."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def answer(
        self, samples: list[Sample], features: list[torch.Tensor], max_new_tokens: int
    ) -> list[list[str]]:
        assert [len(feature) for feature in features] == [len(sample.stream.frames) for sample in samples]
        self.batches.append(len(samples))
        return [[str(number + 2) for number in range(len(sample.questions))] for sample in samples]


def ask(
    view: EncodedView, task: Pictures, batch: int = 2
) -> tuple[list[SampleOutcome], list[str], Answering]:
    model, lines = Answering(), list[str]()
    outcomes = answer_all(model, task, view, device="cpu", batch=batch, progress=lines.append)  # type: ignore[arg-type]
    return outcomes, lines, model


def made(
    models: dict[str, FusedModel], cache: EntryCache, config: PicturesConfig
) -> tuple[EncodedView, Pictures]:
    task = Pictures(config)
    return load_view(NAME, task, ASKED, models["casa"], "cpu", cache), task


def outcome(value: float | None, status: str = "scored", **changes: object) -> SampleOutcome:
    fields: dict[str, object] = {
        "sample": "s",
        "group": "s",
        "question": "q",
        "kind": "now",
        "prediction": "3",
        "answer": "3",
        "status": status,
        "value": value,
        "oracle_values": {},
        "chance": 0.25,
    }
    return SampleOutcome.model_validate(fields | changes)


def test_every_question_of_every_sample_is_asked_and_scored(
    models: dict[str, FusedModel], cache: EntryCache
) -> None:
    view, task = made(models, cache, PicturesConfig(clips=5, questions=3))
    outcomes, lines, model = ask(view, task)
    assert [(o.sample, o.question) for o in outcomes] == [
        (f"clip{i}", f"q{j}") for i in range(5) for j in range(3)
    ]
    assert [o.value for o in outcomes[:3]] == [0.0, 1.0, 0.0]
    assert [o.prediction for o in outcomes[:3]] == ["2", "3", "4"]
    assert outcomes[0].oracle_values == {"blind": 1.0}
    assert outcomes[1].oracle_values == {"blind": 0.0}
    assert model.batches == [2, 2, 1]
    assert lines[0] == "answering 0/5"
    assert lines[-1] == "answering 5/5"


def test_samples_that_cannot_be_read_are_errors_not_answers(
    models: dict[str, FusedModel], cache: EntryCache
) -> None:
    view, task = made(models, cache, PicturesConfig(clips=4, unreadable=1))
    outcomes, _, model = ask(view, task)
    assert [(o.status, o.prediction, o.value) for o in outcomes[:2]] == [("error", None, None)] * 2
    assert sum(model.batches) == 3
    total = summarise(outcomes)
    assert (total.scored, total.errors) == (6, 2)
    assert total.mean == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (Score(status="scored", value=1.5), "a score of 1.5 is not in 0..1"),
        (Score(status="scored"), "a score of None is not in 0..1"),
        (None, "it gives None, not a harness.task.Score"),
        (1.0, "it gives 1.0, not a harness.task.Score"),
        (Score(status="fine", value=1.0), "a status 'fine' is none of scored, unparsed, error"),  # type: ignore[arg-type]
        (ZeroDivisionError("no luck"), "ZeroDivisionError: no luck"),
        (SystemExit(0), "SystemExit: 0"),
    ],
)
def test_a_scorer_that_fails_is_an_error_and_is_said_once(score: object, reason: str) -> None:
    class Broken(Pictures):
        def score(self, prediction: str, question: Question) -> Score:
            if isinstance(score, BaseException):
                raise score
            return score  # type: ignore[return-value]

    lines: list[str] = []
    sample = Pictures().samples(ASKED)[0]
    scorer = Scorer(Broken(), lines.append)
    outcomes = [scorer.outcome(sample, question, "3") for question in sample.questions]
    assert {(o.status, o.value, o.prediction) for o in outcomes} == {("error", None, "3")}
    assert outcomes[0].oracle_values == {"blind": None}
    assert reason in (outcomes[0].reason or "")
    assert len(lines) == 1
    assert "'q0'" in lines[0]


def test_a_metric_of_all_answers_that_is_no_number_is_none_and_said() -> None:
    class Strange(Pictures):
        def aggregates(self, outcomes: Sequence[SampleOutcome]) -> dict[str, float | None]:
            return {"nan": float("nan"), "endless": float("inf"), "fine": 0.5, "none": None}

    class Broken(Pictures):
        def aggregates(self, outcomes: Sequence[SampleOutcome]) -> dict[str, float | None]:
            return {"text": "much"}  # type: ignore[dict-item]

    said: list[str] = []
    assert aggregates(Strange(), [], said.append) == {"nan": None, "endless": None, "fine": 0.5, "none": None}
    assert said == [
        "the task's metric 'nan' is nan, which is no number to record",
        "the task's metric 'endless' is inf, which is no number to record",
    ]
    assert aggregates(Broken(), [], said.append) == {}
    assert "metrics of all answers failed: ValueError" in said[-1]


def test_an_unparsed_answer_counts_as_wrong() -> None:
    sample = Pictures().samples(ASKED)[0]
    question = dataclasses.replace(sample.questions[0], choices=("3", "4"))
    given = Scorer(Pictures(), print).outcome(sample, question, "no idea")
    assert (given.status, given.value) == ("unparsed", None)
    total = summarise([given, outcome(1.0, group="t")])
    assert (total.mean, total.scored, total.unparsed) == (0.5, 1, 1)


def test_nothing_counted_is_none_and_never_zero() -> None:
    for outcomes in ([], [outcome(None, "error")]):
        total = summarise(outcomes)
        assert (total.mean, total.low, total.high, total.chance) == (None, None, None, None)
        assert total.errors == len(outcomes)


def test_one_question_per_group_gets_wilsons_interval() -> None:
    outcomes = [outcome(float(index < 3), group=f"g{index}") for index in range(10)]
    total = summarise(outcomes)
    expected = wilson(0.3, 10)
    assert (total.low, total.high) == (expected.low, expected.high)


def test_questions_of_one_group_widen_the_interval() -> None:
    values = [1.0] * 20 + [0.0] * 20
    apart = summarise([outcome(value, group=str(index)) for index, value in enumerate(values)])
    together = summarise([outcome(value, group=str(index // 10)) for index, value in enumerate(values)])
    assert apart.low is not None
    assert together.low is not None
    assert together.low < apart.low


def test_chance_and_oracles_are_means_over_the_counted_questions() -> None:
    total = summarise(
        [
            outcome(1.0, group="a", chance=0.5, oracle_values={"blind": 1.0, "last_frame": 0.0}),
            outcome(0.0, group="b", chance=0.1, oracle_values={"blind": 0.0}),
            outcome(None, "error", group="c", chance=0.9, oracle_values={"blind": 1.0}),
            outcome(0.0, group="d", chance=0.3, oracle_values={"blind": None}),
        ]
    )
    assert total.chance == pytest.approx(0.3)
    assert total.oracles == {"blind": 0.5, "last_frame": 0.0}
    assert summarise([outcome(1.0, chance=None)]).chance is None


def test_kinds_are_summarised_apart() -> None:
    kinds = by_kind(
        [outcome(1.0, kind="then"), outcome(0.0, kind="now"), outcome(1.0, kind="now", group="t")]
    )
    assert list(kinds) == ["now", "then"]
    assert (kinds["now"].mean, kinds["then"].mean) == (0.5, 1.0)
