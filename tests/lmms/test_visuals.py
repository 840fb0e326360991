"""Messages become streams: order, number of frames, times, and what is recorded of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from harness.errors import MediaError
from harness.lmms.visuals import Clip, Part, Picture, Prompted, parts_of_messages, parts_of_visuals, prompt_of
from harness.media.video import encode_h264
from harness.stream import Frame, Text
from harness.task import View

VIEW = View(frames=4, height=16, width=24)


def picture(level: int) -> Image.Image:
    return Image.fromarray(np.full((20, 30, 3), level, np.uint8))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.stack([np.full((32, 32, 3), 10 * index, np.uint8) for index in range(16)])
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode_h264(frames, 4))
    return path


def only(shown: Prompted) -> dict[str, Any]:
    """What is recorded of the one thing that is shown."""
    (described,) = cast("list[dict[str, Any]]", shown.media["shown"])
    return described


def digests(shown: Prompted) -> list[str]:
    return [item.digest for item in shown.items if isinstance(item, Frame)]


def test_text_between_images_stays_and_the_last_is_the_question() -> None:
    content = [
        {"type": "text", "text": "first"},
        {"type": "image", "url": picture(10)},
        {"type": "text", "text": "second"},
        {"type": "image", "url": picture(20)},
        {"type": "text", "text": "which is "},
        {"type": "text", "text": "darker?"},
    ]
    shown = prompt_of(parts_of_messages([{"role": "user", "content": content}]), "0", VIEW)
    kinds = [item.text if isinstance(item, Text) else item.pixels.shape for item in shown.items]
    assert kinds == ["first", (16, 24, 3), "second", (16, 24, 3)]
    assert shown.question == "which is darker?"
    assert [item.time_s for item in shown.items if isinstance(item, Frame)] == [0.0, 1.0]
    assert "note" not in shown.media


def test_more_images_than_frames_are_thinned_out_and_it_is_said() -> None:
    parts = parts_of_visuals([picture(level) for level in range(0, 200, 20)], "how many?")
    shown = prompt_of(parts, "3", VIEW)
    assert len(shown.items) == 4
    assert shown.media["note"] == "4 of 10 images are shown; ask for more frames to show all"
    other = prompt_of(parts, "3", View(frames=4, height=16, width=24, seed=1))
    assert digests(shown) != digests(other)


def test_pictures_of_any_mode_are_shown_as_the_folder_task_shows_them() -> None:
    deep = Image.fromarray(np.full((20, 30), 32896, np.uint16))
    clear = Image.fromarray(np.zeros((20, 30, 4), np.uint8))
    frames = prompt_of([Picture(deep), Picture(clear), "?"], "0", VIEW).items
    levels = [int(one.pixels.min()) for one in frames if isinstance(one, Frame)]
    assert levels == [128, 255]


def test_a_video_shows_the_asked_number_of_frames_at_their_times(clip: Path) -> None:
    shown = prompt_of(parts_of_visuals([str(clip)], "what?"), "0", VIEW)
    described = only(shown)
    assert len(shown.items) == 4
    assert described["frames_available"] == 16
    assert described["seconds"] == [index / 4 for index in described["frames"]]
    assert len(described["sha256"]) == 64
    assert shown.group == "clip.mp4"
    other = prompt_of(parts_of_visuals([str(clip)], "why?"), "9", VIEW)
    assert digests(other) == digests(shown), "all questions about a video see the same frames"


def test_no_more_frames_are_shown_than_asked_for_whatever_the_videos(clip: Path) -> None:
    parts: list[Part] = [Clip(clip), "and", Clip(clip), "and", Clip(clip), "which?"]
    for frames in (1, 2, 3, 7):
        shown = prompt_of(parts, "0", View(frames=frames, height=16, width=24))
        assert len(digests(shown)) == {1: 1, 2: 2, 3: 3, 7: 6}[frames]
        note = shown.media.get("note")
        assert note == (
            f"{frames} of 3 videos are shown; ask for more frames to show all" if frames < 3 else None
        )


def test_a_part_of_a_video_shows_that_part(clip: Path) -> None:
    parts = parts_of_visuals([{"type": "video", "path": str(clip), "video_start": 1, "video_end": 2}], "q")
    shown = prompt_of(parts, "0", VIEW)
    described = only(shown)
    assert described["frames_available"] == 5
    assert all(1 <= second <= 2 for second in described["seconds"])
    with pytest.raises(MediaError, match="no frame between 70"):
        prompt_of([Clip(clip, 70.0, 80.0), "q"], "0", VIEW)


def test_a_document_that_ends_with_an_image_gets_a_question() -> None:
    parts: list[Part] = ["look", Picture(picture(3))]
    assert prompt_of(parts, "0", VIEW).question == "answer :"


def test_sound_is_refused() -> None:
    content = [{"type": "audio", "url": "a.wav"}, {"type": "text", "text": "q"}]
    with pytest.raises(MediaError, match="choose a task of images or video"):
        parts_of_messages([{"role": "user", "content": content}])
