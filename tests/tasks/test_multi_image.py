"""What is particular to multi_image: captions, one window per image, balance, true answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from harness.media.imagepool import load_pool
from harness.media.imagesets import ImageTruth, candidates, draw_layout, draw_plan
from harness.media.pictures import PICTURE_NAMES, PICTURES
from harness.media.scenes import COLOURS
from harness.stream import Frame, Text
from harness.task import Sample, View
from harness.tasks.multi_image import MultiImage, _draw, _truths

NUMBERS = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture(scope="module")
def samples() -> Sequence[Sample]:
    return MultiImage().samples(View(frames=6, height=32, width=32, limit=180))


def test_a_caption_stands_before_every_image_and_each_has_its_own_time(samples: Sequence[Sample]) -> None:
    for sample in samples:
        items = list(sample.stream)
        captions, frames = items[::2], items[1::2]
        assert [item.text for item in captions if isinstance(item, Text)] == [f"image {n} :" for n in NUMBERS]
        assert [frame.time_s for frame in frames if isinstance(frame, Frame)] == [0, 1, 2, 3, 4, 5]


def test_same_and_odd_one_out_are_balanced(samples: Sequence[Sample]) -> None:
    answers: dict[str, Counter[str]] = {}
    for sample in samples:
        for question in sample.questions:
            answers.setdefault(question.kind, Counter())[question.answer] += 1
    assert answers["same"] == {"yes": 30, "no": 30}
    assert answers["odd_one_out"] == dict.fromkeys(NUMBERS, 10)


def test_pictures_carry_licence_and_credit() -> None:
    truths, dataset = load_pool()
    assert all(picture.licence and picture.credit for picture in PICTURES)
    assert all(dataset["licence"])
    assert all(dataset["credit"])
    assert type(dataset.features["image"]).__name__ == "Image"
    assert {truth.picture for truth in truths} == {None, *range(len(PICTURES))}


def _digit(truth: ImageTruth, colour: str) -> str:
    return str(truth.digit[truth.colour.index(COLOURS.index(colour))])


def _true_answer(kind: str, prompt: str, truths: Sequence[ImageTruth]) -> str:
    """Answer a prompt from the truths, by reading its words alone."""
    parts = prompt.split()
    named = [NUMBERS.index(word) for word in parts if word in NUMBERS]
    if kind == "in_image" and truths[named[0]].picture is not None:
        return PICTURE_NAMES[truths[named[0]].picture or 0]
    if kind == "in_image":
        return _digit(truths[named[0]], parts[3])
    if kind == "which_picture":
        return _only(truth.picture == PICTURE_NAMES.index(parts[4]) for truth in truths)
    if kind == "which_digit":
        pair = COLOURS.index(parts[4]), int(parts[5])
        return _only(pair in zip(truth.colour, truth.digit, strict=True) for truth in truths)
    if kind == "same":
        return "yes" if truths[named[0]].picture == truths[named[1]].picture else "no"
    if kind == "compare_counts":
        return NUMBERS[max(named, key=lambda image: truths[image].count)]
    if kind == "odd_one_out":
        counts = Counter(truth.picture for truth in truths)
        return _only(counts[truth.picture] == 1 for truth in truths)
    place = truths[named[1]].colour.index(COLOURS.index(parts[10]))
    return str(truths[named[0]].digit[place])


def _only(hits: Iterable[bool]) -> str:
    places = [index for index, hit in enumerate(hits) if hit]
    assert len(places) == 1
    return NUMBERS[places[0]]


def test_answers_are_true() -> None:
    rng = np.random.default_rng(3)
    kinds = set()
    for _ in range(150):
        plan = draw_plan(rng, 6, draw_layout(rng, 6))
        scenes = iter(_truths(_draw(rng, 6)))
        truths = [next(scenes) if picture is None else ImageTruth(picture) for picture in plan.pictures]
        for kind, drafts in candidates(plan, truths).items():
            kinds.add(kind)
            for draft in drafts:
                assert _true_answer(kind, draft.prompt, truths) == draft.answer, draft
    assert kinds == set(MultiImage.kinds)


def test_a_set_never_shows_an_image_twice(samples: Sequence[Sample]) -> None:
    for sample in samples:
        files = sample.media["files"]
        assert isinstance(files, list)
        assert len(set(files)) == 6
