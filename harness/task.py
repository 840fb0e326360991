"""The contract of a task: samples with media, questions with exact answers, and a scorer.

A task is one file: a frozen ``Config``, a subclass of :class:`Task` and the ``@register_task`` decorator.
Changing a prompt, a sampler or a scorer raises ``version``; records of different versions are never joined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, get_args, overload

import numpy as np

from harness.errors import UsageError, storable
from harness.likelihood import Losses, likeliest
from harness.stream import Stream

if TYPE_CHECKING:
    from harness.records import SampleOutcome

ScoreStatus = Literal["scored", "unparsed", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is asked of a task: how many frames, at which size (pixels), which draw, how many samples."""

    frames: int
    height: int
    width: int
    seed: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of question. ``needs`` says what a method must keep to answer it."""

    description: str
    needs: Literal["last_frame", "fine_detail", "pixel_history", "text_history", "several_images", "any"]
    min_frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about a sample's stream.

    ``prompt`` is the text that follows the stream. ``oracles`` maps an oracle's name ("blind": sees the
    question only; "last_frame": sees the truth of the last frame and the question) to the answer which it
    would give; it is scored like a model's. ``chance`` is the expected score of a uniform guess among the
    kind's answers. ``max_new_tokens`` is the longest answer to this question in tokens of the backbone's
    tokenizer, exactly; None takes the task's, and as many more as its longest choice or answer needs.
    ``answer`` is one of the ``choices`` where there are any, or empty where the truth is not known.
    ``by_likelihood`` takes the choice that the model finds likeliest for the answer (``harness.likelihood``)
    instead of text that it writes; all questions of a sample are asked in the same way.

    Raises UsageError for a value that is none of these.
    """

    id: str
    kind: str
    prompt: str
    answer: str
    chance: float | None
    choices: tuple[str, ...] = ()
    oracles: Mapping[str, str] = field(default_factory=dict)
    max_new_tokens: int | None = None
    by_likelihood: bool = False

    def __post_init__(self) -> None:
        for name in ("id", "kind", "prompt", "answer"):
            text = getattr(self, name)
            if not isinstance(text, str) or not (text or name in ("prompt", "answer")):
                self._refuse(name, "give a text")
            if storable(text) != text:
                self._refuse(name, "give valid Unicode")
        chance: object = self.chance
        if chance is not None and not (isinstance(chance, Real) and 0.0 <= float(chance) <= 1.0):
            self._refuse("chance", "give the expected score of a guess, in 0..1, or None where there is none")
        tokens: object = self.max_new_tokens
        if tokens is not None and not (isinstance(tokens, Integral) and int(tokens) >= 1):
            self._refuse("max_new_tokens", "give 1 or more, or None for the task's own")
        given: object = self.choices
        if not isinstance(given, tuple | list) or not all(isinstance(choice, str) for choice in given):
            self._refuse("choices", "give a tuple of texts")
        choices = {choice.strip().lower() for choice in self.choices}
        if choices and self.answer and self.answer.strip().lower() not in choices:
            self._refuse("answer", f"give one of its choices, {', '.join(map(repr, self.choices))}")

    def _refuse(self, name: str, rule: str) -> NoReturn:
        raise UsageError(f"question {self.id!r} has {name}={getattr(self, name)!r}; {rule}")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A stream and the questions asked about it, each on its own (no question sees another).

    ``group`` names what is sampled independently, for instance the clip: intervals are clustered by it.
    ``media`` records where the frames come from: file, frame indices, seconds, digests.
    """

    id: str
    stream: Stream
    questions: tuple[Question, ...]
    group: str
    media: Mapping[str, object] = field(default_factory=dict)


class SamplesOnDemand(Sequence[Sample]):
    """``count`` samples, each made when it is asked for: what :meth:`Task.samples` returns where the frames
    of all of them need not fit into memory. ``make`` gives equal samples for an equal place."""

    def __init__(self, count: int, make: Callable[[int], Sample]) -> None:
        self._places, self._make = range(count), make

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Sample: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...

    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        found = self._places[place]
        return self._make(found) if isinstance(found, int) else [self._make(index) for index in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The outcome of one answer: a value in 0..1 when scored, None otherwise."""

    status: ScoreStatus
    value: float | None = None


def check_score(score: object) -> Score:
    """What a scorer gave; raises TypeError or ValueError where that is no score."""
    if not isinstance(score, Score):
        raise TypeError(f"it gives {score!r}, not a harness.task.Score")
    if score.status not in get_args(ScoreStatus):
        raise ValueError(f"a status {score.status!r} is none of {', '.join(get_args(ScoreStatus))}")
    if score.status == "scored" and not (score.value is not None and 0.0 <= score.value <= 1.0):
        raise ValueError(f"a score of {score.value!r} is not in 0..1")
    return score


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """Base of a task's settings; every field can be set from the command line and is part of a cell's
    identity."""


class Task(ABC):
    """Base of a task. Subclasses set the class variables and are constructed with their config."""

    Config: ClassVar[type[TaskConfig]] = TaskConfig
    version: ClassVar[int]
    summary: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]
    kinds: ClassVar[Mapping[str, Kind]]
    """The kinds that questions may be of, by name; none where the data name them."""
    max_new_tokens: ClassVar[int] = 1
    """Longest answer, in tokens of the backbone's tokenizer."""

    def __init__(self, config: TaskConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    def check_view(self, view: View) -> None:
        """Raise UsageError for a view that :meth:`samples` would refuse: asked of every view before the first
        is measured, so it must be cheap. By default nothing is refused here."""
        del view

    @abstractmethod
    def samples(self, view: View) -> Sequence[Sample]:
        """The evaluation samples for a view: the same view gives the same bytes on every machine.

        They are taken in order and once; :class:`SamplesOnDemand` keeps no more than one of them.
        """

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        """``count`` fresh samples for training, never sharing an instance with :meth:`samples`."""
        raise UsageError(f"task {type(self).__name__} has no training split; train on a task that has one")

    @abstractmethod
    def score(self, prediction: str, question: Question) -> Score:
        """A pure function of the answer and the question."""

    def score_losses(self, losses: Losses, question: Question) -> Score:
        """The score of a question that is asked by likelihood, from the loss of each choice."""
        return self.score(question.choices[likeliest(losses)], question)

    def aggregates(self, outcomes: Sequence[SampleOutcome]) -> Mapping[str, float | None]:
        """Metrics of all answers together that are no mean of their scores, by name, on the task's own scale;
        None for one that cannot be made. Most tasks have none."""
        return {}

    def vocabulary(self) -> frozenset[str]:
        """Words that prompts and answers can contain, for the small reference tokenizer; may be empty."""
        return frozenset()


def exact_match(prediction: str, question: Question) -> Score:
    """1 where the answer equals the truth without regard to case and outer blanks; unparsed outside the
    choices."""
    given = prediction.strip().lower()
    if question.choices and given not in {choice.lower() for choice in question.choices}:
        return Score(status="unparsed")
    return Score(status="scored", value=float(given == question.answer.strip().lower()))
