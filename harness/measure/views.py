"""The samples and the encoded frames of a view, made once and shared by all methods.

A view's samples and their pixels are stored under a name made from everything that they follow from: task,
version, settings, view, the source of the task's code, the files that its settings name, and the libraries
that draw and decode. Encoded frames are stored under the frames' own digests and the encoder's, so they hold
for any task that shows the same frames. Pixels and features are in memory one part of the view at a time
(:mod:`harness.measure.stored`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.measure.cache import EntryCache, Tensors
from harness.measure.identity import digest
from harness.measure.stored import FORMAT, Part, StoredSamples, load_samples
from harness.stream import Frame
from harness.task import Sample, Task, View

if TYPE_CHECKING:
    from harness.measure.subject import Subject

CHUNK_PIXELS = 1 << 20
"""Frames are encoded together up to this many pixels."""
MOST_BYTES = 4 << 30
"""Features of a view beyond this are not stored: a sample's frames are encoded when they are asked for."""


class EncodedView:
    """Samples, and the encoder's output for the frames of each; equal frames of a part are encoded once."""

    def __init__(self, stored: StoredSamples, model: Subject, device: str, cache: EntryCache) -> None:
        self.samples = stored.samples
        self._model, self._device, self._cache = model, device, cache
        self._parts = {
            stored.samples[place].id: part for part in stored.parts for place in range(part.start, part.stop)
        }
        self._frames = len({name for part in stored.parts for name in part.frames})
        self._held: tuple[int, Tensor] | None = None
        self._too_large = False

    def of(self, sample: Sample, device: str) -> Tensor:
        """A sample's features [F, N, D]."""
        frames = sample.stream.frames
        if not frames:
            return torch.zeros(0, 0, 0)
        part = self._parts[sample.id]
        features = self._of_part(part)
        if features is None:
            return encode(self._model, frames, self._device).to(device)
        rows = {name: row for row, name in enumerate(part.frames)}
        index = torch.tensor([rows[frame.digest] for frame in frames], dtype=torch.long)
        return features.index_select(0, index).to(device)

    @cached_property
    def frames_digest(self) -> str:
        """One hash over every frame of every sample, in order."""
        state = hashlib.sha256()
        for sample in self.samples:
            for frame in sample.stream.frames:
                state.update(frame.digest.encode())
        return state.hexdigest()[:16]

    def _of_part(self, part: Part) -> Tensor | None:
        """The features [U, N, D] of a part's distinct frames; None where those of the view are too large."""
        if self._too_large:
            return None
        if self._held is None or self._held[0] != part.number:
            self._held = None
            try:
                self._held = (part.number, self._load(part))
            except _TooLargeError:
                self._too_large = True
                return None
        return self._held[1]

    def _load(self, part: Part) -> Tensor:
        def make() -> tuple[Tensor, Tensors]:
            images = part.images()
            frames = [Frame(images[name], 0.0) for name in part.frames]
            most = MOST_BYTES * len(frames) // self._frames
            features = encode(self._model, frames, self._device, most)
            return features, {"features": features}

        def decode(tensors: Tensors) -> Tensor:
            features = tensors["features"]
            if len(features) != len(part.frames):
                raise ValueError(f"it has {len(features)} frames, not {len(part.frames)}")
            return features

        identity = {
            "format": FORMAT,
            "frames": list(part.frames),
            "encoder": self._model.encoder_digest,
            "dtype": str(next(iter(self._model.parameters())).dtype),
            "device": torch.device(self._device).type,
            "torch": torch.__version__,
        }
        return self._cache.get_or_make(digest(identity), decode, make)


class _TooLargeError(Exception):
    """Features of a view go beyond ``MOST_BYTES``."""


def load_view(
    name: str, task: Task, view: View, model: Subject, device: str, cache: EntryCache
) -> EncodedView:
    """The samples of a view; their frames are encoded, or read from the cache, when they are asked for."""
    return EncodedView(load_samples(name, task, view, cache), model, device, cache)


def encode(model: Subject, frames: Sequence[Frame], device: str, most_bytes: int | None = None) -> Tensor:
    """The encoder's output [F, N, D] on the CPU for frames of one size, in chunks that fit.

    Raises as soon as it is known that all of it takes more than ``most_bytes``.
    """
    height, width = frames[0].size
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
