"""Parts of a view: the same samples, features and answers in any part size, and memory that does not grow."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import MediaError
from harness.measure import stored
from harness.measure.accuracy import answer_all
from harness.measure.cache import EntryCache
from harness.measure.stored import load_samples
from harness.measure.views import load_view
from harness.stream import Frame, Stream
from harness.task import Sample, SamplesOnDemand, View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures, PicturesConfig

ASKED = View(frames=3, height=32, width=32)
FRAME_BYTES = 32 * 32 * 3


@pytest.fixture
def model(models: dict[str, FusedModel]) -> FusedModel:
    return models["casa"]


def pixels(samples: Sequence[Sample]) -> list[list[int]]:
    return [frame.pixels.flatten().tolist() for sample in samples for frame in sample.stream.frames]


@pytest.mark.parametrize(("frames", "parts"), [(1, 6), (7, 2), (1000, 1)])
def test_no_part_size_changes_what_is_shown_and_answered(
    model: FusedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    parts: int,
) -> None:
    task = Pictures(PicturesConfig(clips=6, unreadable=1))
    whole = load_view(NAME, task, ASKED, model, "cpu", EntryCache(tmp_path / "whole", print))
    monkeypatch.setattr(stored, "PART_BYTES", frames * FRAME_BYTES)
    cache = EntryCache(tmp_path / "parts", print)
    cut = load_view(NAME, task, ASKED, model, "cpu", cache)
    assert len(load_samples(NAME, task, ASKED, cache).parts) == parts
    assert pixels(cut.samples) == pixels(whole.samples) == pixels(task.samples(ASKED))
    assert cut.frames_digest == whole.frames_digest
    for one, other in zip(cut.samples, whole.samples, strict=True):
        assert torch.equal(cut.of(one, "cpu"), whole.of(other, "cpu"))
    answers = [answer_all(model, task, view, device="cpu", batch=2, progress=print) for view in (cut, whole)]
    assert answers[0] == answers[1]


def test_samples_can_be_read_in_any_order(
    cache: EntryCache, monkeypatch: pytest.MonkeyPatch, model: FusedModel
) -> None:
    monkeypatch.setattr(stored, "PART_BYTES", 4 * FRAME_BYTES)
    view = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    forward = [view.of(sample, "cpu") for sample in view.samples]
    backward = [view.of(sample, "cpu") for sample in reversed(view.samples)]
    for one, other in zip(forward, reversed(backward), strict=True):
        assert torch.equal(one, other)


def test_a_lost_part_is_made_again(
    cache: EntryCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored, "PART_BYTES", FRAME_BYTES)
    before = pixels(load_samples(NAME, Pictures(), ASKED, cache).samples)
    (path, *_) = cache.folder.glob("*-00002.safetensors")
    path.unlink()
    (path, *_) = cache.folder.glob("*-00001.safetensors")
    path.write_bytes(b"damaged")
    loaded = load_samples(NAME, Pictures(), ASKED, cache)
    assert pixels(loaded.samples) == before
    assert len(list(cache.folder.glob("*-0000?.safetensors"))) == len(loaded.parts)


def test_without_a_cache_the_same_is_shown(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EntryCache(tmp_path / "file" / "cache", warnings.append)
    loaded = load_samples(NAME, Pictures(), ASKED, cache)
    assert pixels(loaded.samples) == pixels(Pictures().samples(ASKED))
    assert len(warnings) == 1
    assert "cannot be written" in warnings[0]


def test_data_that_changes_while_it_is_measured_is_an_error(
    cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_samples(NAME, Pictures(), ASKED, cache)
    shutil.rmtree(cache.folder)
    draw = Pictures.samples
    other = View(frames=3, height=32, width=32, seed=1)
    monkeypatch.setattr(Pictures, "samples", lambda self, view: draw(self, other))
    with pytest.raises(MediaError, match="shows other frames now"):
        pixels(loaded.samples)


class Many(Pictures):
    """Samples made on demand; the most that were alive at once would be all of them in a list."""

    def samples(self, view: View) -> Sequence[Sample]:
        return SamplesOnDemand(view.limit or 1, lambda place: self._one(place, view))

    def _one(self, place: int, view: View) -> Sample:
        rng = np.random.default_rng(place)
        shape = (view.height, view.width, 3)
        frames = [
            Frame(rng.integers(0, 256, shape, dtype=np.uint8), float(time)) for time in range(view.frames)
        ]
        return Sample(
            id=str(place), stream=Stream.of(frames), questions=self._questions(PicturesConfig()), group="g"
        )


def test_memory_does_not_grow_with_the_number_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy's and Python's bytes; ``benchmarks/view_memory.py`` measures the whole process."""
    side, frames = 128, 8
    of_sample = frames * side * side * 3
    monkeypatch.setattr(stored, "PART_BYTES", 3 * of_sample)
    peaks = []
    for count in (10, 80):
        cache = EntryCache(tmp_path / str(count), print)
        tracemalloc.start()
        loaded = load_samples(NAME, Many(), View(frames=frames, height=side, width=side, limit=count), cache)
        assert sum(int(frame.pixels[0, 0, 0]) for one in loaded.samples for frame in one.stream.frames) > 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 80 * of_sample / 2


def test_samples_on_demand_are_a_sequence() -> None:
    made: list[int] = []
    view = View(frames=1, height=4, width=4, limit=5)
    many = SamplesOnDemand(5, lambda place: made.append(place) or Many()._one(place, view))  # type: ignore[func-returns-value]
    assert (len(many), made) == (5, [])
    assert [sample.id for sample in many] == ["0", "1", "2", "3", "4"]
    assert (many[-1].id, [sample.id for sample in many[1:3]]) == ("4", ["1", "2"])
    with pytest.raises(IndexError):
        many[5]
