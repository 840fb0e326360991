"""What is particular to videoqa: time, text in the stream, the oracles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.media.clips import draw_clips
from harness.media.clipset import FINGERPRINTS, SHARD, load_clips, load_truth
from harness.media.digits import digit_bank
from harness.media.questions import KINDS, choose, spoken
from harness.media.sampling import sample_frames
from harness.stream import Text
from harness.task import Sample, View
from harness.tasks.videoqa import VideoQA, _draw_styles, _oracles, _seconds


@pytest.fixture(scope="module")
def samples() -> Sequence[Sample]:
    return VideoQA().samples(View(frames=6, height=48, width=48, limit=32))


def test_the_data_set_has_media_features_and_a_licence(samples: Sequence[Sample]) -> None:
    clips = load_clips(SHARD)
    assert type(clips.features["video"]).__name__ == "Video"
    assert clips.info.license
    assert set(clips["style"]) == {"changing", "dialogue", "moving"}
    assert len(FINGERPRINTS) == 256 // SHARD


def test_no_text_enters_the_stream_but_the_turns_of_a_dialogue(samples: Sequence[Sample]) -> None:
    truths = [load_truth(text) for text in load_clips(SHARD)["truth"]]
    for sample, truth in zip(samples, truths, strict=True):
        texts = [item.text for item in sample.stream if isinstance(item, Text)]
        seconds = [int(frame.time_s) for frame in sample.stream.frames]
        said = [spoken(truth.turns[second], second) for second in seconds] if truth.turns else []
        assert texts == said
        assert (truth.style == "dialogue") == bool(said)


def test_time_stamps_are_the_presentation_times_of_the_frames(samples: Sequence[Sample]) -> None:
    for sample in samples:
        indices = sample.media["frames"]
        assert isinstance(indices, list)
        assert [frame.time_s for frame in sample.stream.frames] == [index / 4 for index in indices]
        assert sample.stream.frames[-1].time_s >= 15


def test_many_frames_per_second_are_shown_too() -> None:
    (sample,) = VideoQA().samples(View(frames=64, height=16, width=16, limit=1))
    assert [frame.time_s for frame in sample.stream.frames] == [index / 4 for index in range(64)]
    assert sample.questions


def test_the_last_frame_oracle_reads_the_last_frame_and_knows_no_history() -> None:
    rng = np.random.default_rng(77)
    truths = draw_clips(rng, digit_bank("test"), _draw_styles(rng, 500)).truths
    oracles = _oracles(8)
    hits: dict[str, dict[str, list[bool]]] = {"blind": {}, "last_frame": {}}
    chance: dict[str, float] = {}
    for truth in truths:
        for draft in choose(rng, truth, _seconds(sample_frames(rng, 8)), 9):
            chance[draft.kind] = 1 / draft.options
            for name, answer in oracles.answers(draft).items():
                hits[name].setdefault(draft.kind, []).append(answer == draft.answer)
    assert set(chance) == set(KINDS)
    for kind, about in KINDS.items():
        blind, last = (float(np.mean(hits[name][kind])) for name in ("blind", "last_frame"))
        assert blind < chance[kind] + 0.08, (kind, blind)
        if about.needs in ("last_frame", "fine_detail"):
            assert last == 1.0, (kind, last)
        else:
            assert last < chance[kind] + 0.08, (kind, last)


def test_oracles_are_the_same_each_time() -> None:
    first = _oracles(4)
    _oracles.cache_clear()
    assert _oracles(4) == first
