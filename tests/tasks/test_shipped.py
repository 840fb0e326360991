"""What holds for videoqa and multi_image alike: repeatable, disjoint, in known words, honest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.errors import UsageError
from harness.stream import Text
from harness.task import Sample, Task, View
from harness.tasks.multi_image import MultiImage
from harness.tasks.videoqa import VideoQA

SHIPPED: list[type[Task]] = [VideoQA, MultiImage]
VIEW = View(frames=4, height=48, width=48, limit=30)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda task: task.__name__)
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = request.param()
    return made


@pytest.fixture(scope="module")
def samples(task: Task) -> Sequence[Sample]:
    return task.samples(VIEW)


def _content(samples: Sequence[Sample]) -> list[object]:
    return [
        (
            sample.id,
            [item.text if isinstance(item, Text) else (item.digest, item.time_s) for item in sample.stream],
            sample.questions,
            sample.media,
        )
        for sample in samples
    ]


def test_the_same_view_gives_the_same_samples(task: Task, samples: Sequence[Sample]) -> None:
    assert _content(type(task)().samples(VIEW)) == _content(samples)


def test_another_seed_gives_other_samples(task: Task, samples: Sequence[Sample]) -> None:
    other = task.samples(View(frames=4, height=48, width=48, limit=30, seed=1))
    assert _content(other) != _content(samples)


def test_a_smaller_limit_gives_the_first_samples(task: Task, samples: Sequence[Sample]) -> None:
    few = task.samples(View(frames=4, height=48, width=48, limit=3))
    assert _content(few) == _content(samples[:3])


def test_resolution_changes_pixels_only(task: Task, samples: Sequence[Sample]) -> None:
    small = task.samples(View(frames=4, height=16, width=32, limit=30))
    for one, other in zip(small, samples, strict=True):
        assert one.questions == other.questions
        assert {frame.pixels.shape for frame in one.stream.frames} == {(16, 32, 3)}
        assert [f.time_s for f in one.stream.frames] == [f.time_s for f in other.stream.frames]


def test_training_is_repeatable_and_fresh(task: Task) -> None:
    draws = [_content(task.training_samples(VIEW, np.random.default_rng(seed), 6)) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_training_never_shows_an_evaluation_frame(task: Task, samples: Sequence[Sample]) -> None:
    shown = {frame.digest for sample in samples for frame in sample.stream.frames}
    trained = task.training_samples(VIEW, np.random.default_rng(0), 30)
    assert not shown & {frame.digest for sample in trained for frame in sample.stream.frames}


def test_the_vocabulary_covers_prompts_answers_choices_and_text(
    task: Task, samples: Sequence[Sample]
) -> None:
    known = task.vocabulary()
    for sample in [*samples, *task.training_samples(VIEW, np.random.default_rng(0), 30)]:
        for item in sample.stream:
            assert not isinstance(item, Text) or set(item.text.split()) <= known
        for question in sample.questions:
            assert {*question.prompt.split(), question.answer, *question.choices} <= known


def test_every_question_is_sound(task: Task, samples: Sequence[Sample]) -> None:
    ids = [question.id for sample in samples for question in sample.questions]
    assert len(ids) == len(set(ids))
    for sample in samples:
        assert len(sample.stream.frames) == VIEW.frames
        assert sample.group == sample.id
        for question in sample.questions:
            assert VIEW.frames >= task.kinds[question.kind].min_frames
            assert question.answer in question.choices
            assert set(question.oracles) == {"blind", "last_frame"}
            assert task.score(question.answer, question).value == 1.0
            assert task.score(f" {question.answer.upper()} ", question).value == 1.0
            wrong = next(choice for choice in question.choices if choice != question.answer)
            assert task.score(wrong, question).value == 0.0
            assert task.score("nonsense", question).status == "unparsed"
            assert question.chance is not None
            assert 0 < question.chance <= 0.5


def test_every_kind_that_the_frames_allow_is_asked(task: Task, samples: Sequence[Sample]) -> None:
    asked = {question.kind for sample in samples for question in sample.questions}
    assert asked == {name for name, kind in task.kinds.items() if VIEW.frames >= kind.min_frames}


def test_media_records_what_was_shown(task: Task, samples: Sequence[Sample]) -> None:
    for sample in samples:
        assert sample.media["frame_digests"] == [frame.digest for frame in sample.stream.frames]
        assert sample.media["sampler_seed"] == VIEW.seed


@pytest.mark.parametrize("frames", [0, 65])
def test_impossible_frame_counts_are_refused(task: Task, frames: int) -> None:
    view = View(frames=frames, height=16, width=16)
    with pytest.raises(UsageError, match=r"ask for 1 to \d+"):
        task.samples(view)
    with pytest.raises(UsageError, match=r"ask for 1 to \d+"):
        task.training_samples(view, np.random.default_rng(0), 1)


def test_a_limit_of_nothing_is_refused(task: Task) -> None:
    with pytest.raises(UsageError, match="limit 0"):
        task.samples(View(frames=1, height=16, width=16, limit=0))


@pytest.mark.parametrize("config", [lambda: VideoQA.Config(clips=0), lambda: MultiImage.Config(sets=-1)])
def test_an_empty_evaluation_set_is_refused(config: type) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        config()
