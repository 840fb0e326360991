"""What must hold for every task: its samples, its scorer, its training split."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from harness.backbones.tiny import shipped_tokenizer
from harness.measure.stored import as_json
from harness.sample_rules import SampleRules
from harness.stream import Text
from harness.task import Question, Sample, Score, Task, TaskConfig, View, check_score
from harness.testing.elsewhere import digests, digests_elsewhere, reachable
from harness.testing.failures import ViolationError
from harness.tokenizer import extended, words_of

_DRAWN = 4
"""Samples that are drawn for training."""
_ASKED = 64
"""Questions of a view whose scores are checked."""
_NO_ANSWERS = ("", " ", "\x00", "there is no such answer", "word " * 2_000)


@dataclass(frozen=True)
class TaskSubject:
    """A task with its settings, and the samples of the views that were asked for."""

    name: str
    cls: type[Task]
    config: TaskConfig
    _samples: dict[View, Sequence[Sample]] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        return self.again()

    def again(self) -> Task:
        """The task as another process would make it."""
        return self.cls(self.config)

    def samples(self, view: View) -> Sequence[Sample]:
        if view not in self._samples:
            self._samples[view] = list(self.task.samples(view))
        return self._samples[view]

    def questions(self, view: View) -> Iterator[tuple[Sample, Question]]:
        """The first questions of the samples that could be shown."""
        shown = (sample for sample in self.samples(view) if "error" not in sample.media)
        return itertools.islice(((one, asked) for one in shown for asked in one.questions), _ASKED)


@dataclass(frozen=True, slots=True)
class TaskProperty:
    """What must hold, in one sentence, and what usually breaks it. ``check`` raises a ViolationError. It is
    made of tasks that it ``applies`` to; ``once`` on the last view only, since it takes seconds."""

    name: str
    statement: str
    check: Callable[[TaskSubject, View], None]
    cause: str
    applies: Callable[[TaskSubject], bool] = lambda _: True
    once: bool = False


def _rules(subject: TaskSubject, view: View) -> None:
    subject.task.check_view(view)
    rules = SampleRules(subject.name, subject.task)
    for sample in subject.samples(view):
        rules.check(sample)
    rules.finish(view)


def _shown(subject: TaskSubject, view: View) -> None:
    for sample in subject.samples(view):
        frames = sample.stream.frames
        if len(frames) > view.frames:
            raise ViolationError(
                f"sample {sample.id!r} shows {len(frames)} frames of {view.frames} asked for"
            )
        for frame in frames:
            if frame.size != (view.height, view.width):
                height, width = frame.size
                raise ViolationError(f"sample {sample.id!r} shows a frame of {height}x{width}")


def _repeated(subject: TaskSubject, view: View) -> None:
    _expect_same(subject.samples(view), list(subject.again().samples(view)), "a second time")


def _repeated_elsewhere(subject: TaskSubject, view: View) -> None:
    samples = subject.samples(view)
    found = digests_elsewhere(subject.cls, subject.config, view)
    if len(found) != len(samples):
        raise ViolationError(f"{len(samples)} samples, but {len(found)} in another process")
    for sample, mine, other in zip(samples, digests(samples), found, strict=True):
        if mine != other:
            raise ViolationError(f"sample {sample.id!r} is another one in another process")


def _limited(subject: TaskSubject, view: View) -> None:
    few = list(subject.again().samples(dataclasses.replace(view, limit=1)))
    if len(few) != 1:
        raise ViolationError(f"limit=1 gives {len(few)} samples")
    _expect_same(subject.samples(view)[:1], few, "with limit=1")


def _sized(subject: TaskSubject, view: View) -> None:
    larger = dataclasses.replace(view, height=2 * view.height, width=2 * view.width)
    there = f"at {larger.height}x{larger.width}"
    _expect_same(subject.samples(view), subject.samples(larger), there, pixels=False)


def _expect_same(
    expected: Sequence[Sample], found: Sequence[Sample], when: str, *, pixels: bool = True
) -> None:
    if len(expected) != len(found):
        raise ViolationError(f"{len(expected)} samples, but {len(found)} {when}")
    for one, other in zip(expected, found, strict=True):
        mine, theirs = _facts(one, pixels), _facts(other, pixels)
        for name, value in mine.items():
            if value != theirs[name]:
                apart = f"{_short(value)}, but {_short(theirs[name])} {when}"
                raise ViolationError(f"sample {one.id!r} has {name} {apart}")


def _facts(sample: Sample, pixels: bool) -> dict[str, object]:
    """A sample as plain values; without ``pixels``, what does not depend on the frames' size."""
    if pixels:
        facts: dict[str, object] = json.loads(as_json(sample))
        return facts
    items = [item.text if isinstance(item, Text) else item.time_s for item in sample.stream]
    questions = [dataclasses.asdict(question) for question in sample.questions]
    return {"id": sample.id, "group": sample.group, "items": items, "questions": questions}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _truth(subject: TaskSubject, view: View) -> None:
    for sample, question in subject.questions(view):
        score = _score(subject, question.answer, question)
        if question.answer and score != Score(status="scored", value=1.0):
            raise ViolationError(
                f"question {question.id!r} of sample {sample.id!r}: its answer {_short(question.answer)!r} "
                f"gives {score.status}{'' if score.value is None else f' {score.value:g}'}"
            )


def _scored(subject: TaskSubject, view: View) -> None:
    for sample, question in subject.questions(view):
        for text in (*question.choices, *(() if question.by_likelihood else _NO_ANSWERS)):
            score = _score(subject, text, question)
            where = f"question {question.id!r} of sample {sample.id!r}: {_short(text)!r}"
            if text in question.choices and score.status != "scored":
                raise ViolationError(f"{where}, one of its choices, gives {score.status}")
            if _score(subject, text, question) != score:
                raise ViolationError(f"{where} has another score when it is asked again")


def _score(subject: TaskSubject, text: str, question: Question) -> Score:
    """The score of a text, or of the choice that it is where the question is asked by likelihood."""
    try:
        if question.by_likelihood:
            losses = tuple(float(choice != text) for choice in question.choices)
            return check_score(subject.task.score_losses(losses, question))
        return check_score(subject.task.score(text, question))
    except Exception as error:
        raise ViolationError(
            f"question {question.id!r}: the scorer fails on {_short(text)!r}: {type(error).__name__}: {error}"
        ) from error


def _guessed(subject: TaskSubject, view: View) -> None:
    for sample, question in subject.questions(view):
        if question.chance is not None and question.choices:
            values = [_score(subject, choice, question).value or 0.0 for choice in question.choices]
            mean = sum(values) / len(values)
            if question.chance < mean - 1e-6:
                raise ViolationError(
                    f"question {question.id!r} of sample {sample.id!r} has chance {question.chance:g}, but "
                    f"its {len(values)} choices score {mean:g} in the mean"
                )


def _foretold(subject: TaskSubject, view: View) -> None:
    for sample, question in subject.questions(view):
        for name, text in question.oracles.items():
            if _score(subject, text, question).status != "scored":
                raise ViolationError(
                    f"question {question.id!r} of sample {sample.id!r}: the answer {text!r} of oracle "
                    f"{name!r} is not scored"
                )


def _trains(subject: TaskSubject) -> bool:
    return subject.cls.training_samples is not Task.training_samples


def _drawn(subject: TaskSubject, view: View, seed: int = 0) -> list[Sample]:
    return list(subject.again().training_samples(view, np.random.default_rng(seed), _DRAWN))


def _trained(subject: TaskSubject, view: View) -> None:
    samples = _drawn(subject, view)
    if len(samples) != _DRAWN:
        raise ViolationError(f"{len(samples)} samples, not the {_DRAWN} that were asked for")
    rules = SampleRules(f"{subject.name} (training)", subject.task)
    for sample in samples:
        rules.check(sample)
    rules.finish(view)
    _expect_same(samples, _drawn(subject, view), "from an equal generator")
    if _digests(samples) == _digests(_drawn(subject, view, seed=1)):
        raise ViolationError("two generators draw the same frames")


def _apart(subject: TaskSubject, view: View) -> None:
    shared = _digests(_drawn(subject, view)) & _digests(subject.samples(view))
    if shared:
        raise ViolationError(f"{len(shared)} frame(s) of the evaluation are shown in training")


def _digests(samples: Iterable[Sample]) -> set[str]:
    return {frame.digest for sample in samples for frame in sample.stream.frames}


def _worded(subject: TaskSubject, view: View) -> None:
    tokenizer = extended(shipped_tokenizer(), subject.task.vocabulary())
    texts: list[str] = []
    for sample in (*subject.samples(view), *_drawn(subject, view)):
        texts += [item.text for item in sample.stream if isinstance(item, Text)]
        for question in sample.questions:
            texts += [question.prompt, question.answer, *question.choices]
    missing = sorted(
        {word for text in texts for word in words_of(tokenizer, text)} - {*tokenizer.get_vocab()}
    )
    if missing:
        raise ViolationError(f"vocabulary() lacks {', '.join(map(repr, missing[:5]))}")


_ALL = (
    TaskProperty(
        "rules",
        "samples have ids of their own, frames of one size and questions of declared kinds",
        _rules,
        "samples are not named apart, or a kind is missing in kinds",
    ),
    TaskProperty(
        "shown",
        "frames have the view's size, and are no more than it asks for",
        _shown,
        "frames are not resized (harness.media.resize), or view.frames is not looked at",
    ),
    TaskProperty(
        "repeatable",
        "the same view shows the same bytes and asks the same questions",
        _repeated,
        "a generator without a seed, or something kept on self",
    ),
    TaskProperty(
        "processes",
        "another process shows the same",
        _repeated_elsewhere,
        "hash() of a text, the order of a set, or something that this process alone knows",
        applies=lambda subject: reachable(subject.cls),
        once=True,
    ),
    TaskProperty(
        "limit",
        "a limit takes the first samples and changes nothing about them",
        _limited,
        "view.limit is not looked at, or one generator draws all samples: seed one for each",
    ),
    TaskProperty(
        "sizes",
        "another size changes pixels alone",
        _sized,
        "the size is among what a generator is seeded with, or one generator draws pixels and questions",
    ),
    TaskProperty(
        "truth",
        "a question's own answer scores 1",
        _truth,
        "the scorer reads answers in another form than questions have them",
    ),
    TaskProperty(
        "scorer",
        "any text has a score, always the same, and every choice can be parsed",
        _scored,
        "the scorer takes the form of an answer for granted; give Score(status='unparsed') where it differs",
    ),
    TaskProperty(
        "chance",
        "a guess scores no less than the mean of the choices",
        _guessed,
        "chance is of another number of choices",
    ),
    TaskProperty(
        "oracles", "an oracle's answers are scored", _foretold, "oracles hold scores or names, not answers"
    ),
    TaskProperty(
        "training",
        "training samples follow from the generator, and are as many as asked for",
        _trained,
        "a generator other than the one given, or a count that is not looked at",
        applies=_trains,
    ),
    TaskProperty(
        "fresh",
        "training shows no frame of the evaluation",
        _apart,
        "both draw from the same media; split them by what is sampled independently",
        applies=_trains,
    ),
    TaskProperty(
        "words",
        "the reference models' tokenizer has every word",
        _worded,
        "vocabulary() lacks words of prompts, answers or texts; words are what blanks separate",
        applies=_trains,
    ),
)
TASK_PROPERTIES = {item.name: item for item in _ALL}
"""What :func:`check_task` checks, by name."""
