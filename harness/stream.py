"""Streams: interleaved text and frames, the one input type of the harness.

Several images, a video and a live feed are all streams. A frame opens a new *window* unless it directly
follows a frame with the same time stamp: images that arrive together are seen together (CASA,
arXiv 2512.19535, "consecutive images share one window"), while a video's frames, each at its own time, do
not.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

Pixels = npt.NDArray[np.uint8]
"""One image: [height, width, 3], RGB, 0..255."""


@dataclass(frozen=True, slots=True)
class Text:
    """A span of text, tokenised where it stands."""

    text: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One image at a time. ``time_s`` is in seconds; images that arrive together carry the same time."""

    pixels: Pixels
    time_s: float

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            broken = ""
            if self.pixels.dtype.kind == "f" and not np.isfinite(self.pixels).all():
                broken = f" with {np.count_nonzero(~np.isfinite(self.pixels)):,} NaN or infinite values"
            raise UsageError(
                f"a frame has pixels {self.pixels.dtype}{list(shape)}{broken}; "
                "it needs uint8 [height, width, 3] with no empty side: convert it to 8-bit RGB"
            )

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
        times = [frame.time_s for frame in self.frames]
        for before, after in itertools.pairwise(times):
            if not after >= before:
                raise UsageError(
                    f"a frame at {after} s follows one at {before} s; frames come in the order of time"
                )

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
