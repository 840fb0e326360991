"""Encoding, decoding and the cache."""

from __future__ import annotations

import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from datasets import Dataset

from harness.errors import InfrastructureError, MediaError
from harness.files import cache_folder
from harness.media import clipset
from harness.media.cache import cached_dataset
from harness.media.clipset import draw_clip, dump_truth, load_truth
from harness.media.video import decode, encode_h264


def test_a_clip_is_h264_at_four_frames_a_second_and_encoded_the_same_each_time(tmp_path: Path) -> None:
    _, frames = draw_clip(0)
    data = encode_h264(frames[:16], 4)
    assert data == encode_h264(frames[:16], 4)
    file = tmp_path / "clip.mp4"
    file.write_bytes(data)
    with av.open(str(file), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert [frame.time for frame in container.decode(stream) if frame.key_frame] == [0.0, 1.0, 2.0, 3.0]


def test_decoding_gives_the_frames_asked_for_at_their_times() -> None:
    _, frames = draw_clip(1)
    data = encode_h264(frames, 4)
    shown = decode(data, [63, 5, 20], "clip")
    assert [time for _, time in shown] == [1.25, 5.0, 15.75]
    for (pixels, _), index in zip(shown, (5, 20, 63), strict=True):
        assert np.abs(pixels.astype(int) - frames[index]).mean() < 5
        assert np.abs(pixels.astype(int) - frames[(index + 8) % 64]).mean() > 5


@pytest.mark.parametrize("data", [b"", b"not a video", b"\0" * 5000])
def test_what_is_not_a_video_is_a_media_error_that_names_it(data: bytes) -> None:
    with pytest.raises(MediaError, match="clip-7"):
        decode(data, [0], "clip-7")


def test_too_few_frames_are_a_media_error() -> None:
    with pytest.raises(MediaError, match="too few frames"):
        decode(encode_h264(draw_clip(0)[1][:8], 4), [0, 8], "clip")


def test_truths_survive_the_data_set() -> None:
    for index in range(3):
        truth, _ = draw_clip(index)
        assert load_truth(dump_truth(truth)) == truth


def _numbers() -> Dataset:
    return Dataset.from_dict({"n": list(range(100))})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def test_a_data_set_is_built_once(folder: Path) -> None:
    built = []

    def build() -> Dataset:
        built.append(1)
        return _numbers()

    for _ in range(2):
        assert cached_dataset("numbers", build)["n"][99] == 99
    assert len(built) == 1
    assert [path.name for path in folder.iterdir()] == ["numbers"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "seal"])
def test_a_damaged_data_set_is_noticed_and_made_again(folder: Path, damage: str) -> None:
    cached_dataset("numbers", _numbers)
    arrow = next((folder / "numbers").glob("*.arrow"))
    data = bytearray(arrow.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 255
        arrow.write_bytes(data)
    elif damage == "cut":
        arrow.write_bytes(data[: len(data) // 2])
    elif damage == "remove":
        arrow.unlink()
    else:
        (folder / "numbers" / "sha256.txt").unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert cached_dataset("numbers", _numbers)["n"][99] == 99
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached_dataset("numbers", _numbers)


def test_a_build_that_breaks_leaves_nothing(folder: Path) -> None:
    def broken() -> Dataset:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cached_dataset("numbers", broken)
    assert list(folder.iterdir()) == []


def test_another_process_that_was_faster_is_believed(folder: Path) -> None:
    def slow() -> Dataset:
        cached_dataset("numbers", _numbers)
        return _numbers()

    assert len(cached_dataset("numbers", slow)) == 100
    assert [path.name for path in folder.iterdir()] == ["numbers"]


def test_a_cache_that_cannot_be_written_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InfrastructureError, match="HARNESS_CACHE"):
        cached_dataset("numbers", _numbers)


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vlm-fusion-harness"


def test_clips_that_come_out_differently_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipset, "SHARD", 2)
    monkeypatch.setattr(clipset, "FINGERPRINTS", ("0" * 32,))
    with pytest.raises(InfrastructureError, match=r"not as 0000.*constraints\.txt"):
        clipset._checked(0)
