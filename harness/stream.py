"""Streams: interleaved text and frames, the one input type of the harness.

Several images, a video and a live feed are all streams. A frame opens a new *window* unless it directly
follows a frame with the same time stamp: images that arrive together are seen together (CASA,
arXiv 2512.19535, "consecutive images share one window"), while a video's frames, each at its own time, do
not.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

Pixels = npt.NDArray[np.uint8]
"""One image: [height, width, 3], RGB, 0..255."""


def check_time(time_s: float, before: float | None = None) -> None:
    """Raise a UsageError for a frame's time that is no finite number or lies before the last frame's."""
    given: object = time_s
    if not isinstance(given, Real) or not math.isfinite(given):
        raise UsageError(f"a frame is at time_s={time_s!r}; give its time in seconds, a finite number")
    if before is not None and time_s < before:
        raise UsageError(f"a frame at {time_s} s follows one at {before} s; frames come in the order of time")


@dataclass(frozen=True, slots=True)
class Text:
    """A span of text, tokenised where it stands."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UsageError(f"a text is of type {type(self.text).__name__}; give a str")


@dataclass(frozen=True, eq=False)
class Frame:
    """One image at a time. ``time_s`` is in seconds; images that arrive together carry the same time."""

    pixels: Pixels
    time_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):
            raise UsageError(
                f"a frame has pixels of type {type(self.pixels).__name__}; it needs a numpy array, uint8 "
                "[height, width, 3]: convert it with numpy.asarray"
            )
        check_time(self.time_s)
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            broken = ""
            if self.pixels.dtype.kind == "f" and not np.isfinite(self.pixels).all():
                broken = f" with {np.count_nonzero(~np.isfinite(self.pixels)):,} NaN or infinite values"
            raise UsageError(
                f"a frame has pixels {self.pixels.dtype}{list(shape)}{broken}; "
                "it needs uint8 [height, width, 3] with no empty side: convert it to 8-bit RGB"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width, _ = self.pixels.shape
        return height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of size and pixels, as 16 hex digits; the time is not part of it."""
        header = f"{self.pixels.shape[0]}x{self.pixels.shape[1]}:".encode()
        return hashlib.sha256(header + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()[:16]


Item = Text | Frame


@dataclass(frozen=True, eq=False)
class Stream:
    """An interleaved sequence of text spans and frames; frame times never decrease."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        for item in self.items:
            if not isinstance(item, Text | Frame):
                raise UsageError(
                    f"a stream has an item of type {type(item).__name__}; "
                    "give Text and Frame, or use Stream.of"
                )
        times = [frame.time_s for frame in self.frames]
        for before, after in itertools.pairwise(times):
            check_time(after, before)

    @classmethod
    def of(cls, items: Iterable[Item | str]) -> Stream:
        """Build a stream from frames and plain strings."""
        return cls(tuple(Text(item) if isinstance(item, str) else item for item in items))

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __add__(self, other: Stream) -> Stream:
        return Stream(self.items + other.items)

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(item for item in self.items if isinstance(item, Frame))
