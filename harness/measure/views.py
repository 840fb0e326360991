"""The samples and the encoded frames of a view, made once and shared by all methods.

A view's samples are stored with the pixels of their distinct frames, under a name made from everything that
they follow from: task, version, settings, view, the source of the task's code, the files that its settings
name, and the libraries that draw and decode. Encoded frames are stored under the frames' own digests and the
encoder's, so they hold for any task that shows the same frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.measure.cache import EntryCache, Tensors
from harness.measure.identity import digest, identify
from harness.stream import Frame, Item, Pixels, Stream, Text
from harness.task import Question, Sample, Task, View

if TYPE_CHECKING:
    from harness.measure.subject import Subject

FORMAT = 1
CHUNK_PIXELS = 1 << 20
"""Frames are encoded together up to this many pixels."""
MOST_BYTES = 4 << 30
"""Features of a view beyond this are kept neither in memory nor on disk."""


@dataclass(frozen=True, kw_only=True)
class EncodedView:
    """Samples with the encoder's output for every distinct frame: row ``rows[digest]`` of ``features`` [U, N,
    D]."""

    samples: tuple[Sample, ...]
    features: Tensor
    rows: dict[str, int]

    def of(self, sample: Sample, device: str) -> Tensor:
        """A sample's features [F, N, D]."""
        index = torch.tensor([self.rows[frame.digest] for frame in sample.stream.frames], dtype=torch.long)
        return self.features.index_select(0, index).to(device)

    @cached_property
    def frames_digest(self) -> str:
        """One hash over every frame of every sample, in order."""
        state = hashlib.sha256()
        for sample in self.samples:
            for frame in sample.stream.frames:
                state.update(frame.digest.encode())
        return state.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class UnkeptView(EncodedView):
    """A view whose features are too large to keep: a sample's frames are encoded when they are asked for."""

    encoder: Callable[[Sequence[Frame]], Tensor]

    def of(self, sample: Sample, device: str) -> Tensor:
        return self.encoder(sample.stream.frames).to(device)


def load_view(
    name: str, task: Task, view: View, model: Subject, device: str, cache: EntryCache
) -> EncodedView:
    """The samples of a view and their encoded frames, from the cache where it has them."""
    samples = load_samples(name, task, view, cache)
    frames = {frame.digest: frame for sample in samples for frame in sample.stream.frames}
    _check_sizes(name, frames.values())
    rows = {name: row for row, name in enumerate(frames)}
    try:
        features = _load_features(frames, model, device, cache)
    except _TooLargeError:
        nothing = torch.zeros(0, 0, 0)
        return UnkeptView(
            samples=samples, features=nothing, rows=rows, encoder=lambda some: encode(model, some, device)
        )
    return EncodedView(samples=samples, features=features, rows=rows)


class _TooLargeError(Exception):
    """Features of a view go beyond ``MOST_BYTES``."""


def load_samples(name: str, task: Task, view: View, cache: EntryCache) -> tuple[Sample, ...]:
    """The samples of a view; raises UsageError when the task has none or two questions share a name."""

    def make() -> tuple[tuple[Sample, ...], Tensors]:
        samples = tuple(task.samples(view))
        _check(name, view, samples)
        return samples, _pack(samples)

    identity = {"format": FORMAT, **identify(name, task, view)}
    return cache.get_or_make(digest(identity), _unpack, make)


def _load_features(frames: dict[str, Frame], model: Subject, device: str, cache: EntryCache) -> Tensor:
    if not frames:
        return torch.zeros(0, 0, 0)

    def make() -> tuple[Tensor, Tensors]:
        features = encode(model, list(frames.values()), device, MOST_BYTES)
        return features, {"features": features}

    def decode(tensors: Tensors) -> Tensor:
        features = tensors["features"]
        if len(features) != len(frames):
            raise ValueError(f"it has {len(features)} frames, not {len(frames)}")
        return features

    identity = {
        "format": FORMAT,
        "frames": list(frames),
        "encoder": model.encoder_digest,
        "dtype": str(next(model.parameters()).dtype),
        "device": torch.device(device).type,
        "torch": torch.__version__,
    }
    return cache.get_or_make(digest(identity), decode, make)


def encode(model: Subject, frames: Sequence[Frame], device: str, most_bytes: int | None = None) -> Tensor:
    """The encoder's output [F, N, D] on the CPU for frames of one size, in chunks that fit.

    Raises as soon as it is known that all of it takes more than ``most_bytes``.
    """
    height, width, _ = frames[0].pixels.shape
    chunk = max(1, CHUNK_PIXELS // (height * width))
    parts: list[Tensor] = []
    for start in range(0, len(frames), chunk):
        part = model.encode(pixels_of(frames[start : start + chunk]).to(device)).cpu()
        if most_bytes is not None and part.nbytes / len(part) * len(frames) > most_bytes:
            raise _TooLargeError
        parts.append(part)
    return torch.cat(parts)


def pixels_of(frames: Sequence[Frame]) -> Tensor:
    """uint8 [F, H, W, 3]."""
    return torch.from_numpy(np.stack([frame.pixels for frame in frames]))


def _check(name: str, view: View, samples: Sequence[Sample]) -> None:
    if not samples:
        raise UsageError(
            f"task {name!r} has no samples for {view.frames} frames at {view.height}x{view.width}; "
            "check its settings and data, or ask for other frames"
        )
    _check_names(f"task {name!r} has samples", [sample.id for sample in samples])
    for sample in samples:
        questions = [question.id for question in sample.questions]
        _check_names(f"task {name!r} asks questions of sample {sample.id!r}", questions)


def _check_names(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{what} that share the id {name!r}; give each its own")
        seen.add(name)


def _check_sizes(name: str, frames: Iterable[Frame]) -> None:
    sizes = {frame.pixels.shape[:2] for frame in frames}
    if len(sizes) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise UsageError(
            f"task {name!r} shows frames of several sizes ({listed}); resize them to the view's size"
        )


def _pack(samples: Sequence[Sample]) -> Tensors:
    """Samples as tensors: the pixels of distinct frames one after another, and a JSON document as bytes."""
    frames: dict[str, tuple[int, Frame]] = {}
    document = []
    for sample in samples:
        items: list[object] = []
        for item in sample.stream:
            if isinstance(item, Text):
                items.append(item.text)
            else:
                row, _ = frames.setdefault(item.digest, (len(frames), item))
                items.append([row, item.time_s])
        document.append(
            {
                "id": sample.id,
                "group": sample.group,
                "media": sample.media,
                "items": items,
                "questions": [dataclasses.asdict(question) for question in sample.questions],
            }
        )
    table = [[name, *frame.pixels.shape] for name, (_, frame) in frames.items()]
    text = json.dumps({"samples": document, "frames": table}, default=_plain).encode()
    flat = [np.ascontiguousarray(frame.pixels).reshape(-1) for _, frame in frames.values()]
    pixels = np.concatenate(flat) if flat else np.zeros(0, dtype=np.uint8)
    return {
        "document": torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy()),
        "pixels": torch.from_numpy(pixels),
    }


def _plain(value: object) -> object:
    """JSON's form of what a sample's media may hold besides plain values."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _unpack(tensors: Tensors) -> tuple[Sample, ...]:
    document = json.loads(tensors["document"].numpy().tobytes())
    pixels = tensors["pixels"].numpy()
    images: list[tuple[str, Pixels]] = []
    start = 0
    for name, height, width, channels in document["frames"]:
        size = height * width * channels
        image = pixels[start : start + size].reshape(height, width, channels)
        if Frame(image, 0.0).digest != name:
            raise ValueError(f"frame {name} has other pixels")
        images.append((name, image))
        start += size
    return tuple(_sample(entry, images) for entry in document["samples"])


def _sample(entry: dict[str, Any], frames: Sequence[tuple[str, Pixels]]) -> Sample:
    items: list[Item] = []
    for item in entry["items"]:
        if isinstance(item, str):
            items.append(Text(item))
        else:
            row, time_s = item
            name, image = frames[row]
            frame = Frame(image, time_s)
            frame.__dict__["digest"] = name  # Checked when the image was read; not hashed again per use.
            items.append(frame)
    questions = tuple(
        Question(**{**question, "choices": tuple(question["choices"])}) for question in entry["questions"]
    )
    return Sample(
        id=entry["id"],
        stream=Stream(tuple(items)),
        questions=questions,
        group=entry["group"],
        media=entry["media"],
    )
