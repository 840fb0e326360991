"""Answers, their scores, and accuracies with intervals.

An unparsed answer counts as wrong. An error (unreadable media, a scorer that raises) counts as nothing and is
reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from harness.records import Accuracy, SampleOutcome
from harness.stats.intervals import mean_interval
from harness.task import Question, Sample, Score, Task

if TYPE_CHECKING:
    from harness.measure.subject import Subject
    from harness.measure.views import EncodedView


def answer_all(
    model: Subject,
    task: Task,
    view: EncodedView,
    *,
    device: str,
    batch: int,
    progress: Callable[[str], None],
) -> list[SampleOutcome]:
    """Ask every question of every sample, ``batch`` samples at a time, and score the answers."""
    readable = [sample for sample in view.samples if not media_error(sample)]
    answers: dict[str, list[str]] = {}
    progress(f"answering 0/{len(readable)}")
    for start in range(0, len(readable), batch):
        samples = readable[start : start + batch]
        # One by one: a model that answers sample by sample holds the features of one only.
        features = (view.of(sample, device) for sample in samples)
        given = model.answer(samples, features, task.max_new_tokens)
        for sample, texts in zip(samples, given, strict=True):
            answers[sample.id] = texts
        progress(f"answering {min(start + batch, len(readable))}/{len(readable)}")
    scorer = Scorer(task, progress)
    return [
        scorer.outcome(sample, question, texts[number] if texts else None)
        for sample in view.samples
        for texts in [answers.get(sample.id)]
        for number, question in enumerate(sample.questions)
    ]


def media_error(sample: Sample) -> str | None:
    """Why a sample has nothing to show, or None."""
    error = sample.media.get("error")
    return str(error) if error and not len(sample.stream) else None


class Scorer:
    """A task's scorer that may fail: an exception or an impossible score is an error of one question."""

    def __init__(self, task: Task, warn: Callable[[str], None]) -> None:
        self._task = task
        self._warn = warn
        self._warned = False

    def score(self, text: str, question: Question) -> Score:
        try:
            score = self._task.score(text, question)
            if score.status == "scored" and not (score.value is not None and 0.0 <= score.value <= 1.0):
                raise ValueError(f"a score of {score.value!r} is not in 0..1")
        except Exception as error:
            if not self._warned:
                self._warned = True
                self._warn(f"the scorer failed on question {question.id!r}: {type(error).__name__}: {error}")
            return Score(status="error")
        return score

    def outcome(self, sample: Sample, question: Question, prediction: str | None) -> SampleOutcome:
        """One answered question; ``prediction`` None means that it could not be asked."""
        score = Score(status="error") if prediction is None else self.score(prediction, question)
        oracles = {name: _value(self.score(text, question)) for name, text in question.oracles.items()}
        return SampleOutcome(
            sample=sample.id,
            group=sample.group,
            question=question.id,
            kind=question.kind,
            prediction=prediction,
            answer=question.answer,
            status=score.status,
            value=score.value if score.status == "scored" else None,
            oracle_values=oracles,
            chance=question.chance,
        )


def _value(score: Score) -> float | None:
    """What an answer adds to a mean: 0 when unparsed, nothing on an error."""
    return {"scored": score.value, "unparsed": 0.0, "error": None}[score.status]


def summarise(outcomes: Sequence[SampleOutcome]) -> Accuracy:
    """The mean over what was not an error, with its interval, chance level and oracles over the same
    questions.

    Chance is None where a question has none, and an oracle's mean covers the questions that it can answer.
    """
    counted = [outcome for outcome in outcomes if outcome.status != "error"]
    interval = None
    if counted:
        values = [outcome.value or 0.0 for outcome in counted]
        interval = mean_interval(values, [outcome.group for outcome in counted])
    return Accuracy(
        mean=interval.mean if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        scored=sum(outcome.status == "scored" for outcome in outcomes),
        unparsed=sum(outcome.status == "unparsed" for outcome in outcomes),
        errors=sum(outcome.status == "error" for outcome in outcomes),
        chance=_chance(counted),
        oracles=_oracles(counted),
    )


def by_kind(outcomes: Iterable[SampleOutcome]) -> dict[str, Accuracy]:
    """The accuracy of each kind of question, kinds in alphabetical order."""
    kinds: dict[str, list[SampleOutcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, []).append(outcome)
    return {kind: summarise(kinds[kind]) for kind in sorted(kinds)}


def _chance(outcomes: Sequence[SampleOutcome]) -> float | None:
    levels = [outcome.chance for outcome in outcomes if outcome.chance is not None]
    return sum(levels) / len(levels) if levels and len(levels) == len(outcomes) else None


def _oracles(outcomes: Sequence[SampleOutcome]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in outcome.oracle_values.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: sum(given) / len(given) for name, given in sorted(values.items())}
