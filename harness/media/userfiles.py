"""Images and videos that nobody here made: decoded as far as they go, upright, with true time stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from harness.errors import MediaError
from harness.media.resize import resize
from harness.stream import Frame, Pixels

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Anything else is opened as a video."""
USER_SAMPLER = "stratified-frames-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The frames shown of a medium, their indices in it, how many it has, and what is to be said about it."""

    frames: tuple[Frame, ...]
    indices: tuple[int, ...]
    available: int
    note: str | None = None


def spread(rng: np.random.Generator, available: int, wanted: int) -> list[int]:
    """``wanted`` of ``available`` indices, one from each of as many equal parts; all if there are fewer."""
    if wanted >= available:
        return list(range(available))
    edges = np.linspace(0, available, wanted + 1)
    low, high = np.ceil(edges[:-1]), np.ceil(edges[1:])
    return [int(i) for i in low + np.floor(rng.random(wanted) * (high - low))]


def read_images(
    paths: Sequence[Path], wanted: int, height: int, width: int, rng: np.random.Generator
) -> Shown:
    """Images in the given order, image i at i seconds: at most ``wanted`` of them. Raises MediaError."""
    indices = spread(rng, len(paths), wanted)
    frames = tuple(Frame(resize(read_image(paths[i]), height, width), float(i)) for i in indices)
    return Shown(frames=frames, indices=tuple(indices), available=len(paths))


def read_image(path: Path) -> Pixels:
    """One image as RGB: upright by its EXIF orientation, transparency over white, 16 bits cut to 8."""
    _check_file(path)
    try:
        with Image.open(path) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"image {path} cannot be read ({error}); replace it or remove its questions"
        ) from error


def to_rgb(image: Image.Image) -> Pixels:
    """Uint8 [H, W, 3]: transparency over white, 16 bits cut to 8."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))


def _to_8_bit(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Pixels:
    """Whole numbers above 255 are taken for 16 bits, fractions for a range to be stretched."""
    levels = values.astype(np.float64)
    if np.issubdtype(values.dtype, np.floating):
        span = float(levels.max() - levels.min()) or 1.0
        levels = (levels - levels.min()) * (255 / span)
    elif levels.max() > 255:
        levels = levels / 257
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def read_video(
    path: Path,
    wanted: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    between_s: tuple[float | None, float | None] = (None, None),
) -> Shown:
    """At most ``wanted`` frames of a video, at seconds since its first frame. Raises MediaError.

    ``between_s`` takes them from a part of it; ``available`` then counts the frames of that part. Decodes
    twice, first to learn which frames there truly are: headers of damaged files promise more.
    """
    _check_file(path)
    times, note = _times(path)
    start, end = between_s
    inside = [
        index
        for index, time_s in enumerate(times)
        if (start is None or time_s >= start) and (end is None or time_s <= end)
    ]
    if not inside:
        raise MediaError(
            f"video {path} has no frame between {start} and {end} s of its {times[-1]:g} s; "
            "correct the times of its questions"
        )
    indices = [inside[place] for place in spread(rng, len(inside), wanted)]
    chosen = set(indices)
    frames: list[Frame] = []
    try:
        for index, frame in enumerate(_decoded(path)):
            if index in chosen:
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                frames.append(Frame(resize(_upright(rgb, frame.rotation), height, width), times[index]))
            if index == indices[-1]:
                break
    except av.FFmpegError as error:
        raise MediaError(f"video {path} changed while it was read ({error.strerror}); run again") from error
    return Shown(frames=tuple(frames), indices=tuple(indices), available=len(inside), note=note)


def _times(path: Path) -> tuple[list[float], str | None]:
    """Seconds of every frame that decodes, and a note where the file breaks off."""
    times: list[float] = []
    note = None
    try:
        with av.open(str(path), "r") as container:
            if not container.streams.video:
                raise MediaError(f"{path} has no video stream; give a video or an image file")
            promised = container.streams.video[0].frames
            rate = float(container.streams.video[0].average_rate or 25)
        for index, frame in enumerate(_decoded(path)):
            time = index / rate if frame.time is None else float(frame.time)
            times.append(max(time, times[-1]) if times else time)
    except av.FFmpegError as error:
        note = f"stops decoding after {len(times)} frames ({error.strerror})"
        promised = 0
    if not times:
        raise MediaError(
            f"video {path} has no frame that can be decoded ({note or 'no frames'}); "
            "replace it or remove its questions"
        )
    if note is None and promised > len(times):
        note = f"holds {len(times)} of the {promised} frames that its header promises"
    return [time - times[0] for time in times], note


def _decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def _upright(pixels: Pixels, degrees: int) -> Pixels:
    """Apply the display rotation of a file's metadata, counter-clockwise, in quarter turns."""
    return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90) % 4))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise MediaError(f"{path} does not exist; correct its path or put the file there")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); replace it or remove its questions")
