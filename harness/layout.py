"""From streams to rows: what enters the language model's token stream, at which position, in which window.

A batch is a list of samples packed without padding. A sample is a *prefix* (text and frames) and *branches*:
questions that each continue the prefix on their own. Row attributes are numpy arrays: they are made once per
forward pass and every layer's attention pattern follows from them.

Window rule (CASA, arXiv 2512.19535): a frame opens a new window unless it directly follows a frame with the
same time stamp. Text before the first frame is in window -1. Gist rows follow their frame and count as text
of its window.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.attention import Block, Index
from harness.errors import UsageError

ImagePositions = Literal["aside", "one_per_frame", "one_per_token", "mrope"]
"""Where a frame's tokens stand. ``aside``: at the position of the next text token, which does not advance
(as the temporal position in Qwen2.5-VL's M-RoPE within CASA); ``one_per_frame``: all at one position of their
own; ``one_per_token``: one position each; ``mrope``: at one temporal position, with the row and the column in
the image as height and width positions, and the text goes on after the longer side (M-RoPE, Qwen2-VL,
arXiv 2409.12191, section 2.1)."""


class Kind(IntEnum):
    TEXT = 0
    IMAGE = 1
    GIST = 2


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Token ids [n]."""

    ids: Tensor


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """A frame's tokens [N, d] as the connector made them, its time in seconds, and how many rows and columns
    of tokens it has, where the tokens are a grid."""

    tokens: Tensor
    time_s: float
    grid: tuple[int, int] | None = None


Span = TextSpan | FrameSpan


@dataclass(frozen=True, slots=True)
class PackedSample:
    """A prefix and the branches that continue it, each on its own. Branches hold text only."""

    prefix: tuple[Span, ...]
    branches: tuple[TextSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a sample's stream stands: what the next row's attributes follow from."""

    position: int = 0
    window: int = -1
    frame: int = -1
    last_time_s: float | None = None
    after_frame: bool = False


class _Place(NamedTuple):
    """What all rows of a span share."""

    sample: int
    branch: int
    window: int
    frame: int


@dataclass(slots=True)
class _Columns:
    """Row attributes while they are collected, span after span: what a span's rows share, then each row's
    own."""

    shared: list[tuple[int, ...]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    source: list[Index] = field(default_factory=list)
    position: list[Index] = field(default_factory=list)
    offset: list[tuple[int, Index]] = field(default_factory=list)
    """Where a span with offsets starts, and they."""
    count: int = 0

    def add(
        self, kind: Kind, place: _Place, source: Index, position: Index, offset: Index | None = None
    ) -> None:
        if offset is not None:
            self.offset.append((self.count, offset))
        self.shared.append((kind, *place))
        self.lengths.append(len(position))
        self.source.append(source)
        self.position.append(position)
        self.count += len(position)

    def rows(self) -> Rows:
        if not self.count:
            none = np.zeros(0, dtype=np.int64)
            return Rows(none, none, none, none, none, none, none, np.zeros((0, 2), dtype=np.int64))
        offset = np.zeros((self.count, 2), dtype=np.int64)
        for start, own in self.offset:
            offset[start : start + len(own)] = own
        kind, sample, branch, window, frame = np.repeat(
            np.array(self.shared, dtype=np.int64), self.lengths, axis=0
        ).T.copy()
        source, position = np.concatenate(self.source), np.concatenate(self.position)
        return Rows(kind, source, position, sample, branch, window, frame, offset)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that enter the token stream, packed over the batch. All arrays are [R] but ``offset``.

    ``source`` is the token id of a text row, the bank row of an image row, the gist's index of a gist row.
    ``frame`` is the last frame of the sample at or before the row (-1: none); ``branch`` is 0 in a prefix.
    ``offset`` [R, 2] is what M-RoPE's height and width positions are beyond ``position``: 0 elsewhere.
    """

    kind: Index
    source: Index
    position: Index
    sample: Index
    branch: Index
    window: Index
    frame: Index
    offset: Index

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Images:
    """The chunk's image tokens, packed: tokens [M, d] and their attributes [M], ``offset`` [M, 2]."""

    tokens: Tensor
    position: Index
    sample: Index
    window: Index
    frame: Index
    offset: Index

    def __len__(self) -> int:
        return len(self.position)

    @property
    def columns(self) -> tuple[Index, ...]:
        """The attributes, in the order of the fields."""
        return self.position, self.sample, self.window, self.frame, self.offset


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows and images of a chunk, and where each sample's stream stands after it."""

    rows: Rows
    images: Images
    cursors: tuple[Cursor, ...]


def lay_out(
    samples: Sequence[PackedSample],
    cursors: Sequence[Cursor],
    *,
    width: int,
    positions: ImagePositions,
    inline: bool,
    gists: int = 0,
) -> Layout:
    """Lay out a batch. ``inline`` image tokens are rows of the token stream; others stay in the image bank.

    ``gists`` rows follow every frame. Branches continue the prefix's cursor, which they do not move. Raises
    UsageError for image tokens of another width than ``width``.
    """
    rows, images, tokens = _Columns(), _Columns(), []
    after = []
    for index, (sample, start) in enumerate(zip(samples, cursors, strict=True)):
        cursor = start
        for span in sample.prefix:
            if isinstance(span, TextSpan):
                cursor = _lay_text(rows, span, cursor, index, branch=0)
            else:
                check_width(span, width)
                tokens.append(span.tokens)
                cursor = _lay_frame(rows, images, span, cursor, index, positions, inline, gists)
        for number, branch in enumerate(sample.branches, start=1):
            _lay_text(rows, branch, cursor, index, branch=number)
        after.append(cursor)
    packed, of = torch.cat(tokens) if tokens else torch.zeros(0, width), images.rows()
    return Layout(
        rows.rows(),
        Images(packed, of.position, of.sample, of.window, of.frame, of.offset),
        tuple(after),
    )


def _lay_text(rows: _Columns, span: TextSpan, cursor: Cursor, sample: int, branch: int) -> Cursor:
    n = span.ids.numel()
    if n == 0:
        return cursor
    ids = span.ids.cpu().numpy().astype(np.int64, copy=False)
    place = _Place(sample, branch, cursor.window, cursor.frame)
    rows.add(Kind.TEXT, place, ids, np.arange(cursor.position, cursor.position + n))
    return Cursor(cursor.position + n, cursor.window, cursor.frame, cursor.last_time_s)


def _lay_frame(
    rows: _Columns,
    images: _Columns,
    span: FrameSpan,
    cursor: Cursor,
    sample: int,
    positions: ImagePositions,
    inline: bool,
    gists: int,
) -> Cursor:
    joins = cursor.after_frame and cursor.last_time_s == span.time_s
    window = cursor.window if joins else cursor.window + 1
    frame, n = cursor.frame + 1, span.tokens.shape[0]
    position = cursor.position + (
        np.arange(n) if positions == "one_per_token" else np.zeros(n, dtype=np.int64)
    )
    place, source = _Place(sample, 0, window, frame), np.arange(images.count, images.count + n)
    offset = _in_grid(span) if positions == "mrope" else None
    images.add(Kind.IMAGE, place, source, position, offset)
    if inline:
        rows.add(Kind.IMAGE, place, source, position, offset)
    advance = {"aside": 0, "one_per_frame": 1, "one_per_token": n, "mrope": max(span.grid or (0,))}[positions]
    following = cursor.position + advance
    if gists:
        rows.add(Kind.GIST, place, np.arange(gists), following + np.arange(gists))
    return Cursor(following + gists, window, frame, span.time_s, after_frame=True)


def _in_grid(span: FrameSpan) -> Index:
    """Each token's row and column in its image, [N, 2]."""
    n = len(span.tokens)
    if span.grid is None or span.grid[0] * span.grid[1] != n:
        raise UsageError(
            f"a frame of {n} tokens came with the grid {span.grid}; positions=mrope needs the rows and "
            "columns of its tokens: give FrameSpan a grid"
        )
    return np.stack(np.divmod(np.arange(n), span.grid[1]), axis=1)


def check_width(span: FrameSpan, width: int) -> None:
    """Raise a UsageError for a frame whose tokens are not [N, ``width``] with N above 0."""
    shape = tuple(span.tokens.shape)
    if len(shape) != 2 or shape[1] != width or not shape[0]:
        raise UsageError(
            f"a frame came with tokens of shape {list(shape)}, but the backbone takes [tokens, {width}]; "
            "project the encoder's features to the backbone's width first"
        )


def causal_blocks(rows: Rows, cached: int) -> list[Block]:
    """Ordinary causal attention: a row sees its sample's prefix and its own branch, up to itself.

    ``cached`` rows of the one sample of a streaming state stand before the new ones among the keys.
    """
    past = np.arange(cached)
    blocks = []
    for prefix, branches in _samples(rows):
        keys = np.concatenate((past, cached + prefix)) if cached else prefix
        blocks.append(Block(prefix, keys, causal=True))
        blocks.extend(
            Block(branch, np.concatenate((keys, cached + branch)), causal=True) for branch in branches
        )
    return blocks


def _samples(rows: Rows) -> list[tuple[Index, list[Index]]]:
    """Per sample: the prefix's row numbers and each branch's."""
    out: list[tuple[Index, list[Index]]] = []
    for start, stop in runs(rows.sample):
        parts = [np.arange(start + a, start + b) for a, b in runs(rows.branch[start:stop])]
        first_is_prefix = bool(rows.branch[start] == 0)
        prefix = parts[0] if first_is_prefix else np.zeros(0, dtype=np.int64)
        out.append((prefix, parts[1:] if first_is_prefix else parts))
    return out


def runs(*columns: Index) -> list[tuple[int, int]]:
    """Maximal runs of rows over which every column is constant."""
    n = len(columns[0])
    if n < 2:
        return [(0, 1)] if n else []
    change = np.zeros(n - 1, dtype=bool)
    for column in columns:
        change |= column[1:] != column[:-1]
    cuts = [0, *(np.flatnonzero(change) + 1).tolist(), n]
    return list(itertools.pairwise(cuts))
