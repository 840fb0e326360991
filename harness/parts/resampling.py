"""Resamplers in a stream: each frame's tokens become a fixed number of latents.

Shapes: M image tokens of F frames, L latents of each, d width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.attention import Block, Index, Pattern
from harness.layout import FrameSpan, Images, PackedSample, Span, check_width
from harness.parts.frames import frame_starts


class Resampler(Protocol):
    """What turns the tokens [M, d] of frames of the given lengths into their latents [F L, d]."""

    latents: nn.Parameter

    def __call__(self, y_md: Tensor, lengths: Index) -> Tensor: ...


def latent_pattern(lengths: Index, latents: int, device: torch.device, *, tokens: bool, own: bool) -> Pattern:
    """Each frame's latents against its ``tokens``, its ``own`` latents or both.

    Keys are numbered in this order: all frames' tokens, then all frames' latents.
    """
    offset = int(lengths.sum()) if tokens else 0
    blocks, start = [], 0
    for frame, length in enumerate(lengths.tolist()):
        queries = latents * frame + np.arange(latents)
        seen = [start + np.arange(length)] if tokens else []
        blocks.append(Block(queries, np.concatenate([*seen, *([offset + queries] if own else [])]), False))
        start += length
    rows = latents * len(lengths)
    return Pattern(blocks, rows, offset + (rows if own else 0), device)


def resampled_images(resampler: Resampler, images: Images) -> Images:
    """The bank of the latents of a bank's frames, at each frame's first position."""
    starts, lengths = frame_starts(images)
    rows = np.repeat(starts, len(resampler.latents))
    return Images(resampler(images.tokens, lengths), *(column[rows] for column in images.columns))


def resampled_samples(
    resampler: Resampler, samples: Sequence[PackedSample], width: int
) -> list[PackedSample]:
    """The same samples with every frame's latents in place of its tokens; all frames run together.

    Raises UsageError for image tokens of another width than ``width``.
    """
    frames = [span for sample in samples for span in sample.prefix if isinstance(span, FrameSpan)]
    if not frames:
        return list(samples)
    for frame in frames:
        check_width(frame, width)
    lengths = np.array([len(frame.tokens) for frame in frames], dtype=np.int64)
    y_md = torch.cat([frame.tokens for frame in frames]).to(resampler.latents)
    latents = iter(resampler(y_md, lengths).view(len(frames), len(resampler.latents), width).unbind())

    def exchanged(spans: Iterable[Span]) -> tuple[Span, ...]:
        return tuple(
            replace(span, tokens=next(latents)) if isinstance(span, FrameSpan) else span for span in spans
        )

    return [replace(sample, prefix=exchanged(sample.prefix)) for sample in samples]


def repeated(latents: nn.Parameter, frames: int) -> Tensor:
    """The learned latents [L, d] once per frame: [F L, d]."""
    return latents.repeat(frames, 1)
