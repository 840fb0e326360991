"""Losses of choices: those of decoding token by token, one prefill for all, and the outcomes made of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import UsageError
from harness.journal import Journal
from harness.layout import TextSpan
from harness.likelihood import choice_losses, continuation_loss, likeliest
from harness.measure.accuracy import answer_all
from harness.measure.cache import EntryCache
from harness.measure.views import load_view
from harness.session import Session
from harness.stream import Frame, Stream
from harness.task import Question, Sample, View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures

CHOICES = ("red", "what digit is red ?", "3")


def asked(*choices: str, by_likelihood: bool = True) -> Question:
    return Question(
        id="q",
        kind="now",
        prompt="what digit is red ?",
        answer=choices[-1] if choices else "3",
        chance=None,
        choices=choices,
        by_likelihood=by_likelihood,
    )


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), float(time)) for time in range(3)]
    stream = Stream.of(["one", frames[0], frames[1], "two", frames[2]])
    return Sample(id="s", stream=stream, questions=(asked(*CHOICES),), group="s")


def encoded(model: FusedModel, sample: Sample) -> torch.Tensor:
    return model.encode(torch.from_numpy(np.stack([frame.pixels for frame in sample.stream.frames])))


def test_losses_are_those_of_decoding_token_by_token(
    models: dict[str, FusedModel], method: str, sample: Sample
) -> None:
    model = models[method]
    features = encoded(model, sample)
    (losses,) = choice_losses(model, sample, features)
    for choice, loss in zip(CHOICES, losses, strict=True):
        session = model.session()
        with torch.inference_mode():
            session.append_stream(sample.stream, features, sample.questions[0].prompt)
            tokens = model.token_ids(choice).tolist()
            nats = []
            for token in tokens:
                nats.append(-float(session.next_logits().log_softmax(-1)[token]))
                session.append_spans((TextSpan(torch.tensor([token])),))
        assert loss == pytest.approx(math.fsum(nats) / len(tokens), rel=1e-4)
    assert len(set(losses)) == len(CHOICES)


def test_images_are_computed_once_for_all_choices(
    models: dict[str, FusedModel], method: str, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models[method]
    frames: list[int] = []
    append = Session.append_spans

    def watched(self: Session, spans: Sequence[object]) -> None:
        frames.append(sum(not isinstance(span, TextSpan) for span in spans))
        append(self, spans)  # type: ignore[arg-type]

    features = encoded(model, sample)
    monkeypatch.setattr(Session, "append_spans", watched)
    choice_losses(model, sample, features)
    assert sum(frames) == len(sample.stream.frames)


def test_asking_leaves_a_session_as_it_was(models: dict[str, FusedModel], method: str) -> None:
    session = models[method].session()
    session.append("what digit is red ?")
    before = session.next_logits().clone()
    first = continuation_loss(session, " 3 ")
    continuation_loss(session, "red digit")
    assert torch.equal(session.next_logits(), before)
    assert continuation_loss(session, "3") == first
    with pytest.raises(UsageError, match="has no token"):
        continuation_loss(session, "  ")


def test_the_greedy_token_is_known_as_such(models: dict[str, FusedModel]) -> None:
    model = models["casa"]
    session = model.session()
    session.append("what digit is red ?")
    logits = session.next_logits()
    words = [word for word in ("red", "digit", "3", "what") if len(model.token_ids(word)) == 1]
    greedy = {word: continuation_loss(session, word)[1] for word in words}
    assert greedy == {word: int(model.token_ids(word)[0]) == int(logits.argmax()) for word in words}
    assert likeliest((2.0, 1.0, 1.0)) == 1


class Compared(Pictures):
    """The pictures with choices that are compared by likelihood."""

    def samples(self, view: View) -> Sequence[Sample]:
        made = super().samples(view)
        return [dataclasses.replace(sample, questions=(asked(*CHOICES),)) for sample in made]


ASKED = View(frames=2, height=32, width=32)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_outcome_is_the_likeliest_choice_and_resumes(
    models: dict[str, FusedModel], tmp_path: Path, cache: EntryCache, batch: int
) -> None:
    model, task = models["casa"], Compared()
    view = load_view(NAME, task, ASKED, model, "cpu", cache)
    path = tmp_path / "one.journal.jsonl"
    outcomes = [
        answer_all(
            model,
            task,
            view,
            device="cpu",
            batch=batch,
            progress=print,
            journal=Journal(path, view.frames_digest),
        )
        for _ in range(2)
    ]
    assert outcomes[0] == outcomes[1]
    for outcome, sample in zip(outcomes[0], view.samples, strict=True):
        (losses,) = choice_losses(model, sample, view.of(sample, "cpu"))
        assert outcome.choice_losses == losses
        assert outcome.prediction == CHOICES[likeliest(losses)]
        assert outcome.value == float(outcome.prediction == "3")


@pytest.mark.parametrize("questions", [(asked(),), (asked("a"), asked("b", by_likelihood=False))])
def test_questions_that_cannot_be_compared_are_refused(
    models: dict[str, FusedModel],
    cache: EntryCache,
    monkeypatch: pytest.MonkeyPatch,
    questions: tuple[Question, ...],
) -> None:
    named = tuple(dataclasses.replace(one, id=str(place)) for place, one in enumerate(questions))
    sample = Sample(id="s", stream=Stream(()), questions=named, group="s")
    monkeypatch.setattr(Pictures, "samples", lambda self, view: [sample])
    with pytest.raises(UsageError, match=r"by likelihood about sample 's'.*choices"):
        load_view(NAME, Pictures(), ASKED, models["casa"], "cpu", cache)
