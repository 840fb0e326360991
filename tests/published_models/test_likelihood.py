"""Losses of choices with published models: those of the class's own forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.likelihood import choice_losses, continuation_loss
from harness.published_models.model import PublishedModel
from harness.stream import Frame, Stream
from harness.task import Question, Sample
from tests.published_models.own import own_logits, text_inputs

CHOICES = ("red", "a digit, green", "it is blue")
QUESTION = Question(
    id="q", kind="k", prompt="is it red", answer="red", chance=None, choices=CHOICES, by_likelihood=True
)
EMPTY = torch.zeros(0, 0, 0)


def test_a_loss_is_that_of_the_class_itself(
    model: Callable[[str], PublishedModel], checkpoint: Callable[[str], Path], kind: str
) -> None:
    """The class's own rule for a loss: its logits before each token of prompt and answer in one pass."""
    subject = model(kind)
    inputs = text_inputs(kind, checkpoint(kind))
    prompt = inputs["input_ids"]
    session = subject.session()
    session.append_stream(Stream(()), EMPTY, QUESTION.prompt)
    for choice in CHOICES:
        ids = subject.answer_ids(choice)
        whole = {**inputs, "input_ids": torch.cat((prompt, ids[None]), dim=1)}
        rows = whole["input_ids"].shape[1]
        whole["attention_mask"] = torch.ones(1, rows, dtype=torch.long)
        if "image_attention_mask" in whole:
            whole["image_attention_mask"] = torch.zeros(1, rows, 1, dtype=torch.long)
        logits = torch.stack(
            [own_logits(subject.net, whole, prompt.shape[1] - 1 + place) for place in range(len(ids))]
        )
        own = torch.nn.functional.cross_entropy(logits.float(), ids)
        assert continuation_loss(session, choice)[0] == pytest.approx(float(own), rel=1e-5)


def test_an_answer_stands_where_the_template_asks_for_it(
    model: Callable[[str], PublishedModel], kind: str
) -> None:
    subject = model(kind)
    tail = subject.chat.tail
    text = str(subject.tokenizer.decode([*subject.ids(tail), *subject.answer_ids("red").tolist()]))
    assert text.endswith("red")
    assert text.removesuffix("red")[-1:].isspace()


def test_frames_are_shared_by_all_choices(
    model: Callable[[str], PublishedModel], kind: str, frames: tuple[Frame, ...]
) -> None:
    subject = model(kind)
    features = subject.encode(torch.stack([torch.from_numpy(frame.pixels) for frame in frames]))
    sample = Sample(id="s", stream=Stream(frames), questions=(QUESTION,), group="s")
    run, images = subject.family.run, []

    def watch(chunk, state):  # type: ignore[no-untyped-def]
        images.append(len(chunk.images))
        return run(chunk, state)

    subject.family.run = watch  # type: ignore[method-assign]
    try:
        (losses,) = choice_losses(subject, sample, features)
    finally:
        subject.family.run = run  # type: ignore[method-assign]
    assert sum(images) == len(frames)
    alone = []
    for choice in CHOICES:
        session = subject.session()
        session.append_stream(sample.stream, features, QUESTION.prompt)
        alone.append(continuation_loss(session, choice)[0])
    assert losses == pytest.approx(alone)
    others = Stream(tuple(Frame(255 - frame.pixels, frame.time_s) for frame in frames))
    changed = subject.encode(torch.stack([torch.from_numpy(frame.pixels) for frame in others.frames]))
    (seen,) = choice_losses(subject, dataclasses.replace(sample, stream=others), changed)
    assert seen != losses


def test_the_prompt_is_the_task_s_own(model: Callable[[str], PublishedModel], kind: str) -> None:
    assert model(kind).prompt(QUESTION) == QUESTION.prompt
    written = dataclasses.replace(QUESTION, by_likelihood=False)
    assert model(kind).prompt(written).startswith(f"{QUESTION.prompt}\nAnswer with one of: red")
