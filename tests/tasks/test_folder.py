"""The folder task on files that nobody here made, whole and broken."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from harness.errors import UsageError
from harness.stream import Frame
from harness.task import Question, Sample, View
from harness.tasks.folder import Folder

VIEW = View(frames=4, height=24, width=32)


def write_video(
    path: Path,
    frames: int = 12,
    times: Sequence[float] | None = None,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
) -> Path:
    """A video whose left half is red and whose brightness rises; 10 frames a second without ``times``."""
    with av.open(
        str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}
    ) as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=10))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        ticks = 1000 if times else 10
        stream.codec_context.time_base = Fraction(1, ticks)
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 4
        stream.codec_context.max_b_frames = 0
        for index in range(frames):
            pixels = np.full((size[1], size[0], 3), 20 + 3 * index, dtype=np.uint8)
            pixels[:, : size[0] // 2, 0] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(ticks * (times[index] if times else index / 10))
            frame.time_base = Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotate_quarter_clockwise(path: Path) -> None:
    """Set the display matrix of an MP4's track, as a phone held upright does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data)


def ask(folder: Path, *lines: dict[str, object], view: View = VIEW) -> Sequence[Sample]:
    rows = [json.dumps({"question": "what is it ?", "answer": "red", **line}) for line in lines]
    (folder / "questions.jsonl").write_text("\n".join(rows) + "\n")
    return Folder(Folder.Config(path=str(folder))).samples(view)


def test_frames_of_a_video_are_spread_resized_and_recorded(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4")
    (sample,) = ask(tmp_path, {"media": "clip.mp4"})
    assert [frame.pixels.shape for frame in sample.stream.frames] == [(24, 32, 3)] * 4
    indices = sample.media["frames"]
    assert isinstance(indices, list)
    assert [index // 3 for index in indices] == [0, 1, 2, 3]
    assert sample.media["seconds"] == pytest.approx([index / 10 for index in indices])
    assert sample.media["frames_shown"] == 4
    assert sample.media["frames_available"] == 12
    assert "error" not in sample.media
    brightness = [int(frame.pixels[12, 24].sum()) for frame in sample.stream.frames]
    assert brightness == sorted(brightness)


def test_the_sampler_is_seeded(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", frames=60)
    draws = [
        ask(tmp_path, {"media": "clip.mp4"}, view=View(frames=6, height=16, width=16, seed=seed))[0].media[
            "frames"
        ]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_more_frames_than_exist_are_shown_once_each(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", frames=3)
    (sample,) = ask(tmp_path, {"media": "clip.mp4"}, view=View(frames=50, height=16, width=16))
    assert sample.media["frames"] == [0, 1, 2]
    assert sample.media["frames_shown"] == 3
    assert sample.media["frames_asked"] == 50


def test_variable_frame_rate_keeps_true_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.6, 3.0, 7.25]
    write_video(tmp_path / "clip.mp4", frames=6, times=times)
    (sample,) = ask(tmp_path, {"media": "clip.mp4"}, view=View(frames=6, height=16, width=16))
    assert [frame.time_s for frame in sample.stream.frames] == pytest.approx(times, abs=0.002)


def test_a_video_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mkv", frames=3, times=[5.0, 5.5, 6.0])
    (sample,) = ask(tmp_path, {"media": "clip.mkv"})
    assert [frame.time_s for frame in sample.stream.frames] == pytest.approx([0, 0.5, 1.0], abs=0.002)


def test_a_portrait_rotated_video_is_shown_upright(tmp_path: Path) -> None:
    """The red left half of the stored frames is the top half once turned clockwise."""
    path = write_video(tmp_path / "clip.mp4")
    rotate_quarter_clockwise(path)
    (sample,) = ask(tmp_path, {"media": "clip.mp4"}, view=View(frames=1, height=64, width=48))
    red = sample.stream.frames[0].pixels[..., 0].astype(int)
    assert red[:28].mean() > red[36:].mean() + 80
    assert abs(red[:, :20].mean() - red[:, 28:].mean()) < 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_truncated_video_shows_what_decodes(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"clip{suffix}", frames=60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    (sample,) = ask(tmp_path, {"media": path.name}, view=View(frames=100, height=16, width=16))
    assert "error" not in sample.media
    assert 1 <= len(sample.stream.frames) < 60
    assert sample.media["frames_available"] == len(sample.stream.frames)
    if suffix == ".mp4":
        assert "60" in str(sample.media["note"]) or "stops" in str(sample.media["note"])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4000))


def _headless(path: Path) -> None:
    path.write_bytes(write_video(path).read_bytes()[:200])


def _zero_length(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _folder(path: Path) -> None:
    path.mkdir()


def _missing(path: Path) -> None:
    pass


BROKEN = [_empty, _noise, _headless, _zero_length, _sound_only, _folder, _missing]


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_an_unreadable_video_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "bad.mp4")
    write_video(tmp_path / "good.mp4")
    bad, good = ask(tmp_path, {"media": "bad.mp4"}, {"media": "good.mp4"})
    assert len(bad.stream) == 0
    assert "bad.mp4" in str(bad.media["error"])
    assert "\n" not in str(bad.media["error"])
    assert [question.answer for question in bad.questions] == ["red"]
    assert len(good.stream.frames) == 4
    assert "error" not in good.media


@pytest.mark.parametrize("make", [_empty, _noise, _missing], ids=lambda make: make.__name__)
def test_an_unreadable_image_is_recorded(tmp_path: Path, make: Callable[[Path], None]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    make(tmp_path / "bad.png")
    (sample,) = ask(tmp_path, {"media": ["good.png", "bad.png"]})
    assert len(sample.stream) == 0
    assert "bad.png" in str(sample.media["error"])


def _shown(folder: Path, image: Image.Image, name: str = "image.png", **options: object) -> Frame:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    (sample,) = ask(folder, {"media": name}, view=View(frames=1, height=image.height, width=image.width))
    assert "error" not in sample.media
    return sample.stream.frames[0]


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((0, 0), (200, 0, 0, 255))
    pixels = _shown(tmp_path, image).pixels
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[3, 3].tolist() == [255, 255, 255]


def test_a_palette_with_transparency_is_composited(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    pixels = _shown(tmp_path, image, transparency=0).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[3, 3].tolist() == [40, 50, 60]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "F"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    if mode == "I;16":
        image = Image.fromarray((ramp * 65535).astype(np.uint16))
    elif mode == "F":
        image = Image.fromarray(ramp.astype(np.float32))
    else:
        image = Image.fromarray((ramp * 255).astype(np.uint8)).convert(mode)
    pixels = _shown(tmp_path, image, "image.tif" if mode in ("F", "CMYK") else "image.png").pixels
    assert pixels.shape == (8, 8, 3)
    assert int(pixels[0, 0, 0]) < 20
    assert int(pixels[7, 7, 0]) > 235


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 16))
    image.paste((255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (sample,) = ask(tmp_path, {"media": "turned.jpg"}, view=View(frames=1, height=8, width=16))
    pixels = sample.stream.frames[0].pixels
    assert pixels[:, 10:].mean() > 240
    assert pixels[:, :6].mean() < 15


def test_a_list_of_images_keeps_its_order_and_is_thinned_to_the_view(tmp_path: Path) -> None:
    for index in range(6):
        Image.new("L", (8, 8), 40 * index).save(tmp_path / f"{index}.png")
    names = [f"{index}.png" for index in range(6)]
    (whole,) = ask(tmp_path, {"media": names}, view=View(frames=9, height=8, width=8))
    assert [int(frame.pixels[0, 0, 0]) for frame in whole.stream.frames] == [0, 40, 80, 120, 160, 200]
    assert [frame.time_s for frame in whole.stream.frames] == [0, 1, 2, 3, 4, 5]
    (thin,) = ask(tmp_path, {"media": names}, view=View(frames=3, height=8, width=8))
    kept = thin.media["frames"]
    assert isinstance(kept, list)
    assert [index // 2 for index in kept] == [0, 1, 2]


def test_questions_about_one_medium_are_one_sample(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    samples = ask(
        tmp_path, {"media": "a.mp4"}, {"media": "b.mp4"}, {"media": "a.mp4", "id": "mine", "kind": "k"}
    )
    assert [[question.id for question in sample.questions] for sample in samples] == [
        ["line-1", "mine"],
        ["line-2"],
    ]
    assert samples[0].questions[1].kind == "k"
    assert (
        len(
            ask(
                tmp_path,
                {"media": "a.mp4"},
                {"media": "b.mp4"},
                view=View(frames=1, height=8, width=8, limit=1),
            )
        )
        == 1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no question"),
        ("\n\n", "has no question"),
        ('{"media": "a.mp4"', "line 1: not JSON"),
        ('{"media": "a.mp4", "question": "q", "answer": "a"}\n[1]', "line 2"),
        ('{"media": "a.mp4", "question": "q"}', "line 1: answer"),
        ('{"media": [], "question": "q", "answer": "a"}', "line 1: media"),
        ('{"media": 3, "question": "q", "answer": "a"}', "line 1: media"),
        ('{"media": "a.mp4", "question": "", "answer": "a"}', "line 1: question"),
        ('{"media": "a.mp4", "question": "q", "answer": "a", "answr": "b"}', "line 1: answr"),
        ('{"media": "a", "question": "q", "answer": "a", "choices": ["b", "c"]}', "not one of the choices"),
        ('{"media": "a", "question": "q", "answer": "b", "choices": ["b", "b"]}', "different"),
        ('{"media": "a", "question": "q", "answer": "a", "id": "x"}\n' * 2, "line 2: id 'x' is used twice"),
    ],
)
def test_an_unusable_question_file_names_the_line_and_the_rule(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "questions.jsonl").write_text(text)
    with pytest.raises(UsageError) as caught:
        Folder(Folder.Config(path=str(tmp_path))).samples(VIEW)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_used_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no path"):
        Folder().samples(VIEW)
    with pytest.raises(UsageError, match="is not a folder"):
        Folder(Folder.Config(path=str(tmp_path / "nowhere"))).samples(VIEW)
    with pytest.raises(UsageError, match="cannot be read"):
        Folder(Folder.Config(path=str(tmp_path))).samples(VIEW)
    (tmp_path / "questions.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        Folder(Folder.Config(path=str(tmp_path))).samples(VIEW)
    (tmp_path / "questions.jsonl").unlink()
    os.mkfifo(tmp_path / "questions.jsonl")
    with pytest.raises(UsageError, match="is not a file"):
        Folder(Folder.Config(path=str(tmp_path))).samples(VIEW)
    with pytest.raises(UsageError, match="1 or more"):
        Folder(Folder.Config(path=str(tmp_path))).samples(View(frames=0, height=8, width=8))


def _question(answer: str, choices: tuple[str, ...] = ()) -> Question:
    return Question(id="q", kind="question", prompt="?", answer=answer, chance=None, choices=choices)


@pytest.mark.parametrize(
    ("prediction", "answer", "value"),
    [
        ("The red car.", "a red car", 1.0),
        ("RED", "red", 1.0),
        ("  red  car ", "red car", 1.0),
        ("redcar", "red car", 0.0),
        ("a", "a", 1.0),
        ("the", "a", 0.0),
        ("", "red", None),
        ("...", "red", None),
    ],
)
def test_free_answers_are_compared_without_case_punctuation_and_articles(
    prediction: str, answer: str, value: float | None
) -> None:
    assert Folder().score(prediction, _question(answer)).value == value


@pytest.mark.parametrize(
    ("prediction", "value"),
    [
        ("B", 1.0),
        ("b.", 1.0),
        ("(b)", 1.0),
        ("B: a dog", 1.0),
        ("dog", 1.0),
        ("The dog!", 1.0),
        ("A", 0.0),
        ("cat", 0.0),
        ("C", None),
        ("bird", None),
        ("", None),
    ],
)
def test_choices_are_named_by_letter_or_text(prediction: str, value: float | None) -> None:
    assert Folder().score(prediction, _question("a dog", ("a cat", "a dog"))).value == value


def test_choices_are_listed_in_the_prompt(tmp_path: Path) -> None:
    (sample,) = ask(tmp_path, {"media": "a.mp4", "answer": "red", "choices": ["red", "blue"]})
    assert sample.questions[0].prompt == "what is it ? A: red B: blue"
    assert sample.questions[0].chance == 0.5
