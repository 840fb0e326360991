"""Streaming eviction (StreamingVLM): token insertion with attention sinks, recent text and frames only.

Papers: StreamingVLM, arXiv 2510.09608: a session keeps the first text tokens as attention sinks, a long
window of recent text and a short one of recent vision, and positions stay contiguous: what follows an evicted
token shifts left. Attention sinks: StreamingLLM, arXiv 2309.17453. As in the released code
(mit-han-lab/streaming-vlm) keys are kept without rotation and rotated for their place among what is seen.

A *segment* is a frame and the rows up to the next frame. When a frame arrives, everything is evicted but the
first ``sinks`` and the last ``text_window`` text tokens and the last ``frames`` frames, the new one included.
The rows of a segment see what was kept then and the segment up to themselves: its *context*. What a row sees
follows from the stream before it; F frames in one pass are F bounded blocks. Branches continue the last one.

Shapes: R rows, C keys of all contexts of a chunk one after the other, d model width. A session keeps the keys
and values of one context, so at fixed text per frame its memory does not grow with frames. A chunk keeps all
its keys until it is done, and shows a layer one copy of them per context.

Deviations: the paper's vision window is in seconds. The released code evicts once per round of one second and
moves old text in front of the kept frames; here every frame evicts and the order stays. The paper trains on
short overlapping clips with full attention; here training evicts as sessions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from harness.attention import Block, Index, attend, to_device
from harness.backbones.decoder import Decoder, DecoderBlock
from harness.declared import Chunk, Kept, Seen, Sizes, Work, blocks_work
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder, Step, check_least
from harness.layout import Cursor, Kind, Layout, PackedSample, lay_out, runs
from harness.registry import register_method

SEEN = "seen"
"""Name of the contexts' key numbers [C], of their rotary positions, and of the pattern over them."""
OWN = "own"
"""Name of the rows' rotary positions within their contexts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingEvictionConfig(FusionConfig):
    """``sinks`` first and ``text_window`` last text tokens, and the last ``frames`` frames are kept.

    The released code has 512, 512 and 16 seconds at 2 frames a second. ``positions``: as in token_insertion.
    """

    sinks: int = 4
    text_window: int = 64
    frames: int = 4
    positions: Literal["one_per_frame", "one_per_token"] = "one_per_frame"

    def __post_init__(self) -> None:
        check_least("streaming_eviction", self, {"sinks": 0, "text_window": 0, "frames": 1})


@register_method("streaming_eviction")
class StreamingEviction(FusionMethod):
    summary = "token insertion with a bounded cache: sinks, recent text, recent frames (StreamingVLM)"
    paper = "arXiv 2510.09608; arXiv 2309.17453"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    Config = StreamingEvictionConfig

    def __init__(self, config: StreamingEvictionConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.limits = config

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions=self.limits.positions, inline=True)

    def begin(self, step: Step) -> None:
        contexts = _Contexts(step, self.limits)
        keys = np.concatenate((np.zeros(0, dtype=np.int64), *contexts.keys))
        positions = np.concatenate((np.zeros(0, dtype=np.int64), *contexts.positions))
        step.patterns[SEEN] = step.pattern(contexts.blocks, len(keys))
        step.ropes[SEEN], step.ropes[OWN] = step.rope_at(positions), step.rope_at(contexts.own)
        if len(keys) != step.cached + len(step.layout.rows) or (np.diff(keys) != 1).any():
            step.carried[SEEN] = to_device(keys, step.device)
        if step.state is not None:
            text = step.state.text
            mask = np.zeros(len(text), dtype=bool)
            stream = _Stream(0, text.columns["kind"], text.columns["frame"])
            mask[stream.context(step.state.cursor.frame, self.limits)] = True
            text.keep(mask)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The context of the last segment."""
        per_row, (text, frames) = sizes.layers * sizes.kv, self._context(seen, seen.frames - 1)
        return Kept(text=per_row * text, image=per_row * frames * seen.tokens)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """All rows pass all weights; those of a segment attend to its context."""
        tokens, pairs = chunk.now.tokens, 0
        for segment in chunk.segments():
            text, frames = self._context(chunk.now, segment.window)
            pairs += (segment.arrives * tokens + segment.text) * (text + frames * tokens)
        return blocks_work(chunk.rows(tokens), pairs, sizes)

    def _context(self, seen: Seen, frame: int) -> tuple[int, int]:
        """Text rows: those left of the text before a frame and those after it; and frames, it included."""
        left = min(seen.text_before(frame), self.limits.sinks + self.limits.text_window)
        return left + seen.text_in(frame), min(frame + 1, self.limits.frames)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        attention, x_rd = block.attention, block.normed(h_rd)
        k, v = attention.keys(x_rd, None), attention.values(x_rd)
        if step.state is not None:
            k, v = step.state.text.extend(i, k, v)
        if SEEN in step.carried:
            k, v = (t.index_select(0, step.carried[SEEN]) for t in (k, v))
        q, k = attention.queries(x_rd, step.ropes[OWN]), attention.rotated(k, step.ropes[SEEN])
        o = attend(q, k, v, step.patterns[SEEN], attention.scale)
        return block.ffn(h_rd + attention.output(o))


class _Stream:
    """The keys of one sample's prefix, from key number ``first`` on; what is evicted may be missing."""

    def __init__(self, first: int, kind: Index, frame: Index) -> None:
        self.first, self.kind, self.frame = first, kind, frame
        self.text, self.images = np.flatnonzero(kind == Kind.TEXT), np.flatnonzero(kind == Kind.IMAGE)
        self.image_frames = frame[self.images]

    def context(self, frame: int, limits: StreamingEvictionConfig) -> Index:
        """Key numbers in order: what is kept when ``frame`` arrives, and its segment so far."""
        start, stop = np.searchsorted(self.frame, (frame, frame + 1))
        text = self.text[: np.searchsorted(self.text, start)]
        recent = max(limits.sinks, len(text) - limits.text_window)
        oldest, newest = np.searchsorted(self.image_frames, (frame - limits.frames + 1, frame))
        images = self.images[oldest:newest]
        before = np.sort(np.concatenate((text[: limits.sinks], text[recent:], images)))
        return self.first + np.concatenate((before, np.arange(start, stop)))

    def positions(self, keys: Index, per_token: bool) -> Index:
        """Contiguous positions of a context: one per text token, and one per frame or per token of it."""
        kind, frame = self.kind[keys - self.first], self.frame[keys - self.first]
        shared = (kind[1:] == Kind.IMAGE) & (kind[:-1] == Kind.IMAGE) & (frame[1:] == frame[:-1])
        steps = np.ones(len(keys), dtype=np.int64)
        steps[1:] -= shared & (not per_token)
        return np.cumsum(steps) - 1


@dataclass
class _Contexts:
    """The contexts of a chunk's segments and branches, one after the other: key numbers and positions.

    ``own`` holds the rows' positions [R]; the blocks' keys are numbered within the contexts.
    """

    step: Step
    limits: StreamingEvictionConfig
    keys: list[Index] = field(default_factory=list)
    positions: list[Index] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, state = self.step.layout.rows, self.step.state
        self.own = np.zeros(len(rows), dtype=np.int64)
        self.count = 0
        kind = rows.kind if state is None else state.text.columns["kind"]
        frame = rows.frame if state is None else state.text.columns["frame"]
        for start, stop in runs(rows.sample):
            split = start + int((rows.branch[start:stop] == 0).sum())
            known = slice(start, self.step.cached + split)
            self._add_sample(_Stream(start, kind[known], frame[known]), start, split, stop)

    def _add_sample(self, stream: _Stream, start: int, split: int, stop: int) -> None:
        """A sample of which the rows up to ``split`` are the prefix."""
        rows, per_token = self.step.layout.rows, self.limits.positions == "one_per_token"
        segments = runs(rows.frame[start:split])
        last = np.zeros(0, dtype=np.int64)
        for first, end in segments:
            keys = stream.context(int(rows.frame[start + first]), self.limits)
            last = self._add(keys, stream.positions(keys, per_token))
            self._attend(start + first, start + end, last)
        branches = runs(rows.branch[split:stop])
        if branches and not segments:
            keys = stream.context(int(rows.frame[split]), self.limits)
            last = self._add(keys, stream.positions(keys, per_token))
        following = int(self.positions[-1][-1]) + 1 if len(last) else 0
        for first, end in branches:
            keys = self.step.cached + np.arange(split + first, split + end)
            place = self._add(keys, following + np.arange(end - first))
            self._attend(split + first, split + end, np.concatenate((last, place)))

    def _add(self, keys: Index, positions: Index) -> Index:
        """Append keys at their positions; returns where they are among all contexts."""
        self.keys.append(keys)
        self.positions.append(positions)
        self.count += len(keys)
        return np.arange(self.count - len(keys), self.count)

    def _attend(self, first: int, end: int, keys: Index) -> None:
        """Rows ``first`` to ``end`` are the last of ``keys``, the most recently added."""
        self.own[first:end] = self.positions[-1][first - end :]
        self.blocks.append(Block(np.arange(first, end), keys, causal=True))
