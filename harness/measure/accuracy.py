"""Answers, their scores, and accuracies with intervals.

An unparsed answer counts as wrong. An error (unreadable media, a scorer that raises) counts as nothing and is
reported.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from harness.errors import in_words, is_out_of_memory, storable
from harness.journal import Journal
from harness.likelihood import Losses, choice_losses, likeliest
from harness.records import Accuracy, SampleOutcome
from harness.stats.intervals import mean_interval
from harness.task import Question, Sample, Score, Task, check_score

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
    journal: Journal | None = None,
) -> list[SampleOutcome]:
    """Ask every question of every sample, ``batch`` samples at a time, and score the answers.

    Each outcome is in the journal before the next batch begins; what the journal holds already is not asked
    again. A sample that alone does not fit into memory is an outcome of its own.
    """
    journal = journal if journal is not None else Journal(None, view.frames_digest)
    scorer = Scorer(task, progress)
    outcomes: dict[tuple[str, str], SampleOutcome] = {}
    open_samples = []
    for sample in view.samples:
        kept = [journal.kept(sample.id, question.id) for question in sample.questions]
        found = [one for one in kept if one is not None]
        if media_error(sample):
            found = [scorer.outcome(sample, question, None) for question in sample.questions]
            journal.add(found)
        if len(found) < len(sample.questions):
            open_samples.append(sample)
        else:
            outcomes.update({(one.sample, one.question): one for one in found})
    total = len(open_samples)
    progress(f"answering 0/{total}")
    for start in range(0, total, batch):
        given = _answer(model, open_samples[start : start + batch], view, device, task.max_new_tokens)
        new = [
            scorer.outcome(sample, question, answers[number] if answers is not None else OUT_OF_MEMORY)
            for sample, answers in given
            for number, question in enumerate(sample.questions)
        ]
        journal.add(new)
        outcomes.update({(one.sample, one.question): one for one in new})
        progress(f"answering {min(start + batch, total)}/{total}")
    return [outcomes[sample.id, question.id] for sample in view.samples for question in sample.questions]


def _answer(
    model: Subject, samples: Sequence[Sample], view: EncodedView, device: str, max_new_tokens: int
) -> list[tuple[Sample, Sequence[Answer] | None]]:
    """The answers per sample, None for one that ran out of memory; together where that fits."""
    compared = [any(question.by_likelihood for question in sample.questions) for sample in samples]
    if any(compared) and len(samples) > 1:
        return [one for sample in samples for one in _answer(model, [sample], view, device, max_new_tokens)]
    try:
        if any(compared):
            (sample,) = samples
            return [(sample, choice_losses(model, sample, view.of(sample, device)))]
        # One by one: a model that answers sample by sample holds the features of one only.
        features = (view.of(sample, device) for sample in samples)
        return list(zip(samples, model.answer(samples, features, max_new_tokens), strict=True))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    if len(samples) == 1:
        return [(samples[0], None)]
    return [one for sample in samples for one in _answer(model, [sample], view, device, max_new_tokens)]


def media_error(sample: Sample) -> str | None:
    """Why a sample has nothing to show, or None."""
    error = sample.media.get("error")
    return str(error) if error and not len(sample.stream) else None


class OutOfMemory:
    """Stands for the answer to a question that did not fit into memory."""


OUT_OF_MEMORY = OutOfMemory()
Answer = str | Losses
"""Text that the model wrote, or the losses of the choices that it was given."""


class Scorer:
    """A task's scorer that may fail: an exception, an exit or an impossible score is an error of one
    question."""

    def __init__(self, task: Task, warn: Callable[[str], None]) -> None:
        self._task = task
        self._warn = warn
        self._warned = False

    def score(self, text: str, question: Question) -> Score:
        """The task's score; a scorer that fails is said once."""
        return self._scored(text, question)[0]

    def _scored(self, answer: Answer, question: Question) -> tuple[Score, str | None]:
        """The score, and why there is none."""
        try:
            if isinstance(answer, str):
                score = check_score(self._task.score(answer, question))
            else:
                score = check_score(self._task.score_losses(answer, question))
        except (Exception, SystemExit) as error:
            reason = in_words(error)
            if not self._warned:
                self._warned = True
                self._warn(f"the scorer failed on question {question.id!r}: {reason}")
            return Score(status="error"), reason
        return score, None

    def outcome(
        self, sample: Sample, question: Question, answer: Answer | OutOfMemory | None
    ) -> SampleOutcome:
        """One answered question; ``answer`` None means that it could not be asked."""
        status: Literal["scored", "unparsed", "error", "out_of_memory"] = "error"
        value, reason = None, media_error(sample) or sample.media.get("note")
        losses = answer if isinstance(answer, tuple) else None
        if isinstance(answer, str):
            answer = storable(answer)
        if isinstance(answer, OutOfMemory):
            status, answer = "out_of_memory", None
        elif answer is not None:
            score, failure = self._scored(answer, question)
            status, value, reason = score.status, score.value, failure or reason
        oracles = {name: _value(self.score(text, question)) for name, text in question.oracles.items()}
        return SampleOutcome(
            sample=sample.id,
            group=sample.group,
            question=question.id,
            kind=question.kind,
            prediction=question.choices[likeliest(answer)] if isinstance(answer, tuple) else answer,
            answer=question.answer,
            status=status,
            value=value if status == "scored" else None,
            oracle_values=oracles,
            chance=question.chance,
            reason=None if reason is None else str(reason),
            frames_digest=_frames_digest(sample),
            choice_losses=losses,
        )


def _frames_digest(sample: Sample) -> str | None:
    digests = [frame.digest for frame in sample.stream.frames]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16] if digests else None


def _value(score: Score) -> float | None:
    """What an answer adds to a mean: 0 when unparsed, nothing on an error."""
    return {"scored": score.value, "unparsed": 0.0, "error": None}[score.status]


def summarise(outcomes: Sequence[SampleOutcome]) -> Accuracy:
    """The mean over what was not an error, with its interval, chance level and oracles over the same
    questions.

    Chance is None where a question has none, and an oracle's mean covers the questions that it can answer.
    """
    counted = [outcome for outcome in outcomes if outcome.counts]
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
        errors=len(outcomes) - len(counted),
        chance=_chance(counted),
        oracles=_oracles(counted),
    )


def aggregates(
    task: Task, outcomes: Sequence[SampleOutcome], warn: Callable[[str], None]
) -> dict[str, float | None]:
    """The task's own metrics of all answers together: none where making them fails, and None for one that is
    no finite number; either is said."""
    found: dict[str, float | None] = {}
    try:
        for name, given in task.aggregates(outcomes).items():
            value = None if given is None else float(given)
            if value is not None and not math.isfinite(value):
                warn(f"the task's metric {name!r} is {value}, which is no number to record")
                value = None
            found[str(name)] = value
    except (Exception, SystemExit) as error:
        warn(f"the task's metrics of all answers failed: {in_words(error)}")
        return {}
    return found


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
