"""From a document's messages to a stream: which frames are shown, at which size and time.

The harness draws them, by the same rule for every model and in both directions: images up to the number of
frames, spread over those that there are; of a video one frame from each of as many equal parts, seeded by the
file's name. Text between the images stays where it stands, and what follows the last image is the question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.errors import MediaError
from harness.media.resize import resize
from harness.media.userfiles import (
    IMAGE_SUFFIXES,
    USER_SAMPLER,
    Shown,
    read_image,
    read_video,
    spread,
    to_rgb,
)
from harness.stream import Frame, Item, Text
from harness.task import View

_AFTER_IMAGE = "answer :"
"""The question of a document that ends with an image: a model answers after text only."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of a document, decoded."""

    image: Image.Image


@dataclass(frozen=True)
class Clip:
    """A video file of a document, or a part of it in seconds."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None


Part = str | Picture | Clip


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What a document shows and asks: the stream's items, the question, and where the frames come from."""

    items: tuple[Item, ...]
    question: str
    media: Mapping[str, object]
    group: str | None
    """The one video that all is about, else None."""


def parts_of_messages(messages: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The text, images and videos of chat messages, in order. Raises MediaError for what cannot be shown."""
    parts: list[Part] = []
    for message in messages:
        content = message["content"]
        for entry in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = entry["type"]
            parts += [entry["text"]] if kind == "text" else parts_of_visual(entry["url"], kind)
    return parts


def parts_of_visuals(visuals: Sequence[Any] | None, text: str) -> list[Part]:
    """The same for a task's visuals followed by its text."""
    found = [part for visual in visuals or () for part in parts_of_visual(visual, "video")]
    return [*found, text]


def parts_of_visual(visual: object, kind: str) -> list[Part]:
    """One visual of lmms-eval: an image, a path, a dictionary with a path and seconds, or a list of these."""
    if isinstance(visual, Image.Image):
        return [Picture(visual)]
    if isinstance(visual, list | tuple):
        return [part for one in visual for part in parts_of_visual(one, kind)]
    if isinstance(visual, Mapping):
        named = visual.get("url") or visual.get("path") or visual.get("video") or visual.get("video_path")
        if isinstance(named, str | Path) and visual.get("type", "video") != "audio":
            return [_file(Path(named), visual.get("video_start"), visual.get("video_end"))]
    if isinstance(visual, str | Path) and kind != "audio":
        return [_file(Path(visual))]
    raise MediaError(
        f"a document holds {kind} as {type(visual).__name__}, which the harness does not show; "
        "choose a task of images or video files"
    )


def _file(path: Path, start_s: float | None = None, end_s: float | None = None) -> Part:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Picture(Image.fromarray(read_image(path)))
    return Clip(path, start_s, end_s)


def prompt_of(parts: Sequence[Part], key: str, view: View) -> Prompted:
    """Draw the view's frames of a document. ``key``, its place in the data set, seeds the choice among its
    images: a data set that another task reads too shows the same.

    Raises MediaError for a video that cannot be read.
    """
    pictures = [part for part in parts if isinstance(part, Picture)]
    clips = [part for part in parts if isinstance(part, Clip)]
    kept = set(spread(_rng(key, view), len(pictures), max(view.frames - len(clips), 0)))
    watched = set(spread(_rng(key, view), len(clips), view.frames))
    per_clip = (view.frames - len(kept)) // len(watched) if watched else 0
    items: list[Item] = []
    shown: list[dict[str, object]] = []
    time_s, picture, clip = 0.0, 0, -1
    for part in parts:
        if isinstance(part, str):
            items += [Text(part)] if part else []
        elif isinstance(part, Clip):
            clip += 1
            if clip not in watched:
                continue
            found = _watch(part, per_clip, view.height, view.width, view.seed)
            items += [Frame(frame.pixels, time_s + frame.time_s) for frame in found.frames]
            time_s += found.frames[-1].time_s + 1.0
            shown.append(_of_clip(part, found))
        else:
            if picture in kept:
                pixels = to_rgb(part.image)
                frame = Frame(resize(pixels, view.height, view.width), time_s)
                items.append(frame)
                time_s += 1.0
                shown.append({"image": picture, "digest": frame.digest})
            picture += 1
    question = _AFTER_IMAGE
    while items and isinstance(last := items[-1], Text):
        question = last.text if question is _AFTER_IMAGE else last.text + question
        items.pop()
    media: dict[str, object] = {
        "frames_asked": view.frames,
        "frames_shown": sum(isinstance(item, Frame) for item in items),
        "images_available": len(pictures),
        "sampler": USER_SAMPLER,
        "sampler_seed": view.seed,
        "shown": shown,
    }
    for noun, some, every in (("images", kept, pictures), ("videos", watched, clips)):
        if len(some) < len(every):
            media["note"] = f"{len(some)} of {len(every)} {noun} are shown; ask for more frames to show all"
    group = clips[0].path.name if len({clip.path for clip in clips}) == 1 and not pictures else None
    return Prompted(items=tuple(items), question=question, media=media, group=group)


def _of_clip(clip: Clip, found: Shown) -> dict[str, object]:
    described: dict[str, object] = {
        "file": clip.path.name,
        "sha256": _digest(str(clip.path)),
        "frames": list(found.indices),
        "frames_available": found.available,
        "seconds": [frame.time_s for frame in found.frames],
        "digests": [frame.digest for frame in found.frames],
    }
    return {**described, "note": found.note} if found.note else described


@lru_cache(maxsize=8)
def _watch(clip: Clip, frames: int, height: int, width: int, seed: int) -> Shown:
    """Questions about one video often follow each other; it is decoded once for them."""
    view = View(frames=frames, height=height, width=width, seed=seed)
    between = (clip.start_s, clip.end_s)
    return read_video(clip.path, frames, height, width, _rng(clip.path.name, view), between)


@lru_cache(maxsize=64)
def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rng(key: str, view: View) -> np.random.Generator:
    name = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([int.from_bytes(name[:8], "big"), view.seed, view.frames])
