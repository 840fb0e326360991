"""A view's samples with their pixels on disk: made once, held in memory a part at a time.

A part is the distinct frames of samples that follow each other, up to ``PART_BYTES`` of pixels (of one
sample, where that alone has more). Each part is an entry of the cache. Everything else of the samples is one
entry, the index, and stays in memory: a few kilobytes a sample.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from harness.errors import MediaError
from harness.measure.cache import EntryCache, Tensors
from harness.measure.identity import digest, identify
from harness.sample_rules import SampleRules
from harness.stream import Frame, Item, Pixels, Stream, Text
from harness.task import Question, Sample, Task, View

FORMAT = 2
PART_BYTES = 16 << 20

Images = Mapping[str, Pixels]
"""Pixels by a frame's digest."""


class StoredFrame(Frame):
    """A frame whose pixels are read from its part when they are asked for."""

    def __init__(self, part: Part, name: str, size: tuple[int, int], time_s: float) -> None:
        self.__dict__.update(_part=part, digest=name, _size=size, time_s=time_s)

    @property
    def pixels(self) -> Pixels:
        return self.__dict__["_part"].images()[self.digest]  # type: ignore[no-any-return]

    @property
    def size(self) -> tuple[int, int]:
        return self.__dict__["_size"]  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Samples ``start`` to ``stop`` of a view, and the digests and sizes of their distinct frames."""

    start: int
    stop: int
    frames: Mapping[str, tuple[int, int]]
    source: PartSource
    number: int

    def images(self) -> Images:
        """The pixels of its frames."""
        return self.source.images(self)


class PartSource:
    """Reads parts from the cache, or makes one again from the task; holds the part that was read last."""

    def __init__(self, name: str, task: Task, view: View, entry: str, cache: EntryCache) -> None:
        self._name, self._task, self._view, self._entry, self._cache = name, task, view, entry, cache
        self._held: tuple[int, Images] | None = None

    def images(self, part: Part) -> Images:
        """Raises MediaError where the task shows other frames by now."""
        if self._held is None or self._held[0] != part.number:
            self._held = None
            name = part_name(self._entry, part.number)
            found = self._cache.get_or_make(
                name, lambda tensors: _images(part, tensors), lambda: self._made(part)
            )
            self._held = (part.number, found)
        return self._held[1]

    @cached_property
    def _samples(self) -> Sequence[Sample]:
        return self._task.samples(self._view)

    def _made(self, part: Part) -> tuple[Images, Tensors]:
        frames = {
            frame.digest: frame
            for place in range(part.start, part.stop)
            for frame in self._samples[place].stream.frames
        }
        if list(frames) != list(part.frames):
            raise MediaError(
                f"task {self._name!r} shows other frames now than a moment ago; leave its data as it is "
                "while it is measured, and run again"
            )
        return {name: frame.pixels for name, frame in frames.items()}, _pixels(frames)


def part_name(entry: str, number: int) -> str:
    """The cache's name of a part of the view whose index is ``entry``."""
    return f"{entry}-{number:05d}"


@dataclass(frozen=True, kw_only=True)
class StoredSamples:
    """The samples of a view, and the parts that their pixels are in."""

    samples: tuple[Sample, ...]
    parts: tuple[Part, ...]


def load_samples(name: str, task: Task, view: View, cache: EntryCache) -> StoredSamples:
    """The samples of a view, from the cache where it has them; their pixels are read when they are asked for.

    Raises UsageError when the task has no sample, two questions share a name, or frames differ in size.
    """
    entry = digest({"format": FORMAT, "part": PART_BYTES, **identify(name, task, view)})
    source = PartSource(name, task, view, entry, cache)

    def make() -> tuple[StoredSamples, Tensors]:
        writer = _Writer(name, task, entry, cache)
        for sample in task.samples(view):
            writer.add(sample)
        document = writer.finished(view)
        text = json.dumps(document, default=_plain).encode()
        tensors = {"document": torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())}
        return decode(tensors), tensors

    def decode(tensors: Tensors) -> StoredSamples:
        return _decoded(json.loads(tensors["document"].numpy().tobytes()), source)

    return cache.get_or_make(entry, decode, make)


class _Writer:
    """Takes samples in order, checks them, and stores a part's pixels when the next sample would not fit."""

    def __init__(self, name: str, task: Task, entry: str, cache: EntryCache) -> None:
        self._name, self._entry, self._cache = name, entry, cache
        self._rules = SampleRules(name, task)
        self._frames: dict[str, Frame] = {}
        self._open: list[dict[str, object]] = []
        self._parts: list[dict[str, object]] = []

    def add(self, sample: Sample) -> None:
        self._rules.check(sample)
        together = {**self._frames, **{frame.digest: frame for frame in sample.stream.frames}}
        if self._open and sum(frame.pixels.nbytes for frame in together.values()) > PART_BYTES:
            self._close()
        for frame in sample.stream.frames:
            self._frames.setdefault(frame.digest, frame)
        self._open.append(_described(sample))

    def finished(self, view: View) -> dict[str, object]:
        """The index."""
        if self._open:
            self._close()
        self._rules.finish(view)
        return {"parts": self._parts}

    def _close(self) -> None:
        self._cache.put(part_name(self._entry, len(self._parts)), _pixels(self._frames))
        table = [[name, *frame.size] for name, frame in self._frames.items()]
        self._parts.append({"samples": self._open, "frames": table})
        self._open, self._frames = [], {}


def _described(sample: Sample) -> dict[str, object]:
    """A sample without its pixels."""
    return {
        "id": sample.id,
        "group": sample.group,
        "media": sample.media,
        "items": [
            item.text if isinstance(item, Text) else [item.digest, item.time_s] for item in sample.stream
        ],
        "questions": [dataclasses.asdict(question) for question in sample.questions],
    }


def as_json(sample: Sample) -> str:
    """All of a sample, with digests in the place of pixels."""
    return json.dumps(_described(sample), default=_plain)


def _plain(value: object) -> object:
    """JSON's form of what a sample's media may hold besides plain values."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _pixels(frames: Mapping[str, Frame]) -> Tensors:
    """The pixels of frames, one after another."""
    flat = [np.ascontiguousarray(frame.pixels).reshape(-1) for frame in frames.values()]
    return {"pixels": torch.from_numpy(np.concatenate(flat) if flat else np.zeros(0, dtype=np.uint8))}


def _images(part: Part, tensors: Tensors) -> Images:
    pixels = tensors["pixels"].numpy()
    found: dict[str, Pixels] = {}
    start = 0
    for name, (height, width) in part.frames.items():
        size = 3 * height * width
        image = pixels[start : start + size].reshape(height, width, 3)
        if Frame(image, 0.0).digest != name:
            raise ValueError(f"frame {name} has other pixels")
        found[name] = image
        start += size
    return found


def _decoded(document: dict[str, Any], source: PartSource) -> StoredSamples:
    samples: list[Sample] = []
    parts: list[Part] = []
    for number, entry in enumerate(document["parts"]):
        part = Part(
            start=len(samples),
            stop=len(samples) + len(entry["samples"]),
            frames={name: (height, width) for name, height, width in entry["frames"]},
            source=source,
            number=number,
        )
        parts.append(part)
        samples += [_sample(one, part) for one in entry["samples"]]
    return StoredSamples(samples=tuple(samples), parts=tuple(parts))


def _sample(entry: dict[str, Any], part: Part) -> Sample:
    questions = tuple(
        Question(**{**question, "choices": tuple(question["choices"])}) for question in entry["questions"]
    )
    return Sample(
        id=entry["id"],
        stream=Stream(tuple(_items(entry["items"], part))),
        questions=questions,
        group=entry["group"],
        media=entry["media"],
    )


def _items(entries: Sequence[Any], part: Part) -> Iterator[Item]:
    for item in entries:
        if isinstance(item, str):
            yield Text(item)
        else:
            name, time_s = item
            yield StoredFrame(part, name, part.frames[name], time_s)
