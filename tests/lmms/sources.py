"""Small data sets in the schema of the real ones: the harness's own H.264 clips and photographs.

Each is what a user downloads: a folder with the documents, and for videos the files as the archives unpack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, List, Value
from PIL import Image as Pillow

from harness.media.clipset import draw_clip
from harness.media.pictures import crop
from harness.media.sampling import CLIP_FPS
from harness.media.video import encode_h264

ROWS = 4
LETTERS = "ABCD"
TEXT, NUMBER, TEXTS = Value("string"), Value("int64"), List(Value("string"))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task of lmms-eval with its documents. ``videos`` is the folder of its clips below the task's cache
    folder ``home``; None for tasks of images."""

    task: str
    split: str
    rows: Sequence[Mapping[str, Any]]
    features: Mapping[str, Any]
    configuration: str | None = None
    home: str | None = None
    videos: str | None = None
    clips: Mapping[str, int] | None = None


def write(source: Source, folder: Path) -> Path:
    """Put a data set into ``folder``; return the folder that `--data` is given."""
    where = folder / (source.home or source.task)
    table = Dataset.from_list([dict(row) for row in source.rows], features=Features(dict(source.features)))
    inner = where / source.configuration if source.configuration else where
    DatasetDict({source.split: table}).save_to_disk(str(inner))
    if source.videos is not None:
        for name, index in (source.clips or {}).items():
            path = where / source.videos / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(clip(index))
    return where


@lru_cache(maxsize=8)
def clip(index: int) -> bytes:
    """One of the evaluation clips of videoqa, as a file."""
    _, frames = draw_clip(index)
    return encode_h264(frames[:24], CLIP_FPS)


@lru_cache(maxsize=32)
def photo(index: int) -> Pillow.Image:
    """A piece of a photograph, of a size of its own."""
    rng = np.random.default_rng(index)
    return Pillow.fromarray(crop(rng, index % 3, 48 + 8 * (index % 3), 64, "test"))


def each(make: Callable[[int], Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [make(index) for index in range(ROWS)]


def letter(index: int) -> str:
    return LETTERS[index % 4]


def lettered(options: Sequence[str]) -> list[str]:
    return [f"{letter}. {option}" for letter, option in zip("ABCDE", options, strict=False)]


def texts(names: str) -> dict[str, Value]:
    return dict.fromkeys(names.split(), TEXT)


OPTIONS = ["a red one", "a green one", "a blue one", "none"]
CLIPS = {f"v{index}.mp4": index for index in range(2)}
