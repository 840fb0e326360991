"""Views: what the cache returns equals what the task made, and nothing stale is used."""

from __future__ import annotations

import dataclasses
import os
import sys
import types
from pathlib import Path

import pytest
import torch

from harness.errors import MediaError, UsageError
from harness.measure import views
from harness.measure.cache import EntryCache
from harness.measure.stored import load_samples
from harness.measure.views import EncodedView, encode, load_view
from harness.measure.workload import pick_sample
from harness.stream import Frame, Stream, Text
from harness.task import Sample, View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures, PicturesConfig

ASKED = View(frames=3, height=32, width=32)


@pytest.fixture(autouse=True)
def forget() -> None:
    Pictures.drawn.clear()


@pytest.fixture
def model(models: dict[str, FusedModel]) -> FusedModel:
    return models["casa"]


def content(sample: Sample) -> list[object]:
    return [
        item.text if isinstance(item, Text) else (item.time_s, item.digest, item.pixels.tolist())
        for item in sample.stream
    ]


def features(view: EncodedView) -> torch.Tensor:
    """Those of all frames of all samples, one after another."""
    return torch.cat([view.of(sample, "cpu") for sample in view.samples])


def test_stored_samples_equal_the_tasks_own(cache: EntryCache) -> None:
    task = Pictures(PicturesConfig(unreadable=1))
    made = task.samples(ASKED)
    for _ in range(2):
        loaded = load_samples(NAME, task, ASKED, cache).samples
        assert [content(sample) for sample in loaded] == [content(sample) for sample in made]
        assert [sample.questions for sample in loaded] == [sample.questions for sample in made]
        assert [(sample.id, sample.group) for sample in loaded] == [(s.id, s.group) for s in made]
        assert loaded[0].media == made[0].media
    assert loaded[1].media == {"frames": [0, 1, 2], "seconds": [0.0, 1.5]}
    assert len(Pictures.drawn) == 2  # One by this test, one by the first load.


def test_frames_digests_hold_after_loading(cache: EntryCache) -> None:
    task = Pictures()
    load_samples(NAME, task, ASKED, cache)
    for sample in load_samples(NAME, task, ASKED, cache).samples:
        for frame in sample.stream.frames:
            assert frame.digest == Frame(frame.pixels, 0.0).digest


@pytest.mark.parametrize("change", [{"seed": 1}, {"frames": 2}, {"height": 48}, {"limit": 2}])
def test_another_view_is_drawn_anew(cache: EntryCache, change: dict[str, int]) -> None:
    load_samples(NAME, Pictures(), ASKED, cache)
    other = dataclasses.replace(ASKED, **change)
    loaded = load_samples(NAME, Pictures(), other, cache).samples
    assert Pictures.drawn == [ASKED, other]
    assert len(loaded) == (change.get("limit") or 4)
    assert {frame.pixels.shape[0] for sample in loaded for frame in sample.stream.frames} == {other.height}


def test_another_seed_shows_other_frames(model: FusedModel, cache: EntryCache) -> None:
    digests = [
        load_view(NAME, Pictures(), dataclasses.replace(ASKED, seed=seed), model, "cpu", cache).frames_digest
        for seed in (0, 1, 0)
    ]
    assert digests[0] == digests[2] != digests[1]


def test_a_new_version_is_drawn_anew(cache: EntryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    load_samples(NAME, Pictures(), ASKED, cache)
    monkeypatch.setattr(Pictures, "version", 4)
    load_samples(NAME, Pictures(), ASKED, cache)
    assert len(Pictures.drawn) == 2


def test_changed_code_is_drawn_anew(
    cache: EntryCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "task.py"
    code.write_text("x = 1")
    module = types.SimpleNamespace(__file__=str(code), __package__="")
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    monkeypatch.setattr(Pictures, "__module__", "a_plugin")
    load_samples(NAME, Pictures(), ASKED, cache)
    load_samples(NAME, Pictures(), ASKED, cache)
    assert len(Pictures.drawn) == 1
    code.write_text("x = 2")
    load_samples(NAME, Pictures(), ASKED, cache)
    assert len(Pictures.drawn) == 2


def test_changed_files_of_the_user_are_read_anew(cache: EntryCache, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "questions.jsonl").write_text("{}")
    task = Pictures(PicturesConfig(path=str(folder)))
    load_samples(NAME, task, ASKED, cache)
    load_samples(NAME, task, ASKED, cache)
    assert len(Pictures.drawn) == 1
    (folder / "questions.jsonl").write_text("{ }")
    load_samples(NAME, task, ASKED, cache)
    assert len(Pictures.drawn) == 2
    os.utime(folder / "questions.jsonl", (1, 1))
    load_samples(NAME, task, ASKED, cache)
    assert len(Pictures.drawn) == 3


def test_equal_frames_are_encoded_once(
    model: FusedModel, cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = FusedModel.encode

    def counting(self: FusedModel, pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(FusedModel, "encode", counting)
    first, second = (features(load_view(NAME, Pictures(), ASKED, model, "cpu", cache)) for _ in range(2))
    # Four clips of three frames share their first frame; the second load comes from the cache.
    assert sum(encoded) == 1 + 4 * 2
    assert torch.equal(first, second)


def test_features_are_those_of_each_samples_own_frames(model: FusedModel, cache: EntryCache) -> None:
    view = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    for sample in view.samples:
        alone = encode(model, sample.stream.frames, "cpu")
        torch.testing.assert_close(view.of(sample, "cpu"), alone, rtol=1e-4, atol=1e-5)


def test_features_that_are_too_large_are_made_when_asked_for(
    model: FusedModel, cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    whole = features(kept)
    for path in cache.folder.glob("*.safetensors"):
        path.unlink()
    distinct = 9 * whole[0].nbytes
    monkeypatch.setattr(views, "MOST_BYTES", distinct - 1)
    unkept = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    torch.testing.assert_close(features(unkept), whole, rtol=1e-4, atol=1e-5)
    assert unkept.frames_digest == kept.frames_digest
    # The index and the pixels.
    assert sum(path.suffix == ".safetensors" for path in cache.folder.iterdir()) == 2


def test_another_encoder_has_other_features(
    model: FusedModel, cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = features(load_view(NAME, Pictures(), ASKED, model, "cpu", cache)).shape
    monkeypatch.setattr(FusedModel, "encoder_digest", property(lambda _: "other"))
    monkeypatch.setattr(FusedModel, "encode", lambda _, pixels: torch.ones(len(pixels), 2, 2))
    second = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    assert features(second).shape == (12, 2, 2)
    assert shape != features(second).shape


def test_a_damaged_entry_is_made_again(model: FusedModel, cache: EntryCache, warnings: list[str]) -> None:
    before = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    encoded = features(before)
    for path in cache.folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    after = load_view(NAME, Pictures(), ASKED, model, "cpu", cache)
    assert after.frames_digest == before.frames_digest
    assert torch.equal(features(after), encoded)
    assert sum("damaged" in line for line in warnings) >= 2


def test_a_task_without_samples_is_an_error(cache: EntryCache) -> None:
    with pytest.raises(UsageError, match="no samples for 3 frames at 32x32"):
        load_samples(NAME, Pictures(PicturesConfig(clips=0)), ASKED, cache)


def test_two_samples_of_one_name_are_an_error(cache: EntryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Pictures.samples
    monkeypatch.setattr(Pictures, "samples", lambda self, view: [*draw(self, view), *draw(self, view)])
    with pytest.raises(UsageError, match="share the id 'clip0'"):
        load_samples(NAME, Pictures(), ASKED, cache)


def test_frames_of_several_sizes_are_an_error(
    model: FusedModel, cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Pictures.samples
    small = dataclasses.replace(ASKED, height=16)

    def mixed(self: Pictures, view: View) -> list[Sample]:
        other = [dataclasses.replace(sample, id=f"small {sample.id}") for sample in draw(self, small)]
        return [*draw(self, view), *other]

    monkeypatch.setattr(Pictures, "samples", mixed)
    with pytest.raises(UsageError, match="16x32, 32x32"):
        load_view(NAME, Pictures(), ASKED, model, "cpu", cache)


def test_the_measured_sample_is_the_first_with_the_most_frames() -> None:
    one, two = (Pictures(PicturesConfig(clips=2)).samples(View(frames=n, height=8, width=8)) for n in (1, 2))
    assert pick_sample(NAME, [one[0], two[0], two[1]]) is two[0]


def test_nothing_to_measure_is_an_error() -> None:
    unreadable = Pictures(PicturesConfig(clips=2, unreadable=2)).samples(ASKED)
    with pytest.raises(MediaError, match=r"none of 2 samples could be read.*ends too early"):
        pick_sample(NAME, unreadable)
    silent = Sample(id="a", stream=Stream(()), questions=(), group="a")
    with pytest.raises(UsageError, match="both frames and a question"):
        pick_sample(NAME, [silent])


def test_files_of_linked_folders_are_the_users_too(cache: EntryCache, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "media"
    for path in (elsewhere, folder):
        path.mkdir()
    (folder / "videos").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(elsewhere)
    (elsewhere / "a.png").write_text("one")
    task = Pictures(PicturesConfig(path=str(folder)))
    load_samples(NAME, task, ASKED, cache)
    load_samples(NAME, task, ASKED, cache)
    assert len(Pictures.drawn) == 1
    (elsewhere / "a.png").write_text("three")
    load_samples(NAME, task, ASKED, cache)
    assert len(Pictures.drawn) == 2
