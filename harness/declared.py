"""What a method declares about its cost: what a session keeps of a stream and what a chunk computes.

Both are arithmetic on the stream's counts and the backbone's sizes. A declaration looks at no state, layout
or pattern, so that it can contradict them: :mod:`harness.counting` sets it beside what the code does, and
``harness.testing`` checks what is kept.

A *number* is one element of a tensor, whatever its dtype. F frames, N tokens of each, d model width, H heads,
K key/value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, cast

from torch import nn

from harness.backbones.decoder import Decoder
from harness.parts.attention import Heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """A backbone in numbers. ``ffn`` are the weights of one block's FFN, ``inner`` its inner width."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    ffn: int

    @classmethod
    def of(cls, decoder: Decoder) -> Self:
        block = decoder.block(0)
        heads = Heads.of(block.attention)
        return cls(
            layers=len(decoder.blocks),
            width=decoder.width,
            heads=heads.count,
            kv_heads=heads.kv,
            head_width=heads.width,
            inner=cast("nn.Linear", block.mlp.up_proj).out_features,
            ffn=sum(p.numel() for p in block.mlp.parameters() if p.dim() == 2),
        )

    @property
    def kv(self) -> int:
        """Numbers that one row keeps in one layer: a key and a value, 2 K D."""
        return 2 * self.kv_heads * self.head_width

    @property
    def heads_width(self) -> int:
        """Width of all heads' queries together, H D."""
        return self.heads * self.head_width

    @property
    def to_kv(self) -> int:
        """Weights of the key and value projections, d 2 K D."""
        return self.width * self.kv

    @property
    def to_qo(self) -> int:
        """Weights of the query and output projections, 2 d H D."""
        return 2 * self.width * self.heads_width

    @property
    def block(self) -> int:
        """Weights that a row of the token stream meets in one block: q, k, v, o and the FFN."""
        return self.to_qo + self.to_kv + self.ffn


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A stream in counts: ``before`` text rows (the start token is one), then ``frames`` frames of ``tokens``
    tokens, each at a time of its own, with ``between`` text rows after every one but the last and ``after``
    text rows after the last.

    The last ``apart`` frames came in a later chunk than the others. That tells streams apart only for a
    method whose rows depend on the end of their chunk.
    """

    frames: int = 0
    tokens: int = 0
    before: int = 0
    between: int = 0
    after: int = 0
    apart: int = 0

    @property
    def text(self) -> int:
        """All text rows."""
        return self.text_before(self.frames)

    @property
    def images(self) -> int:
        """All image tokens, F N."""
        return self.frames * self.tokens

    def rows(self, per_frame: int) -> int:
        """Rows of the token stream in which every frame has so many."""
        return self.text + self.frames * per_frame

    def text_before(self, window: int) -> int:
        """Text rows of the windows before a window. Window -1 is the text before the first frame."""
        if window < 0:
            return 0
        if window < self.frames or not self.frames:
            return self.before + window * self.between
        return self.before + (self.frames - 1) * self.between + self.after

    def text_in(self, window: int) -> int:
        """Text rows of a window."""
        return self.text_before(window + 1) - self.text_before(window)

    def text_of_last(self, windows: int | None) -> int:
        """Text rows of so many windows, counted back from the last; None: all."""
        first = -1 if windows is None else self.frames - windows
        return self.text - self.text_before(first)


@dataclass(frozen=True, slots=True)
class Segment:
    """What a chunk brings of one window: its frame, if it ``arrives`` with the chunk, and ``text`` rows."""

    window: int
    arrives: bool
    text: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """What turns a ``past`` stream into the one that there is ``now``, computed in one pass.

    Raises an AssertionError where the one does not continue the other.
    """

    past: Seen
    now: Seen

    def __post_init__(self) -> None:
        assert self.past.frames <= self.now.frames
        assert all(segment.text >= 0 for segment in self.segments())

    @property
    def text(self) -> int:
        """New text rows."""
        return self.now.text - self.past.text

    @property
    def frames(self) -> int:
        """New frames."""
        return self.now.frames - self.past.frames

    @property
    def images(self) -> int:
        """New image tokens."""
        return self.now.images - self.past.images

    def rows(self, per_frame: int) -> int:
        """New rows of a token stream in which every frame has so many."""
        return self.now.rows(per_frame) - self.past.rows(per_frame)

    def segments(self) -> Iterator[Segment]:
        """What it brings, window by window."""
        last = self.past.frames - 1
        for window in range(last, self.now.frames):
            arrives = window > last
            there = 0 if arrives else self.past.text_in(window)
            yield Segment(window, arrives, self.now.text_in(window) - there)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Numbers that a session keeps, by the kind of row: rows times layers times what a row keeps in one."""

    text: int = 0
    image: int = 0
    gist: int = 0

    @property
    def total(self) -> int:
        return self.text + self.image + self.gist

    def bytes_by_kind(self, itemsize: int) -> dict[str, int]:
        """As a state counts its own."""
        return {
            "text_kv": itemsize * self.text,
            "image_kv": itemsize * self.image,
            "gist_kv": itemsize * self.gist,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a chunk computes. A causal mask is not discounted: a block's pairs are its queries times its keys.

    ``linear``: (rows, weights) of products with weights, each weight in one entry. ``attention``: (query-key
    pairs, width of the heads) of attention. ``other``: further multiply-adds, as where weights serve a second
    kind of row.
    """

    linear: tuple[tuple[int, int], ...] = ()
    attention: tuple[tuple[int, int], ...] = ()
    other: int = 0

    def __add__(self, more: Work) -> Work:
        return Work(
            linear=self.linear + more.linear,
            attention=self.attention + more.attention,
            other=self.other + more.other,
        )

    def times(self, blocks: int) -> Work:
        """Of so many blocks, each with weights of its own."""
        return Work(
            linear=tuple((rows, blocks * weights) for rows, weights in self.linear),
            attention=tuple((blocks * pairs, width) for pairs, width in self.attention),
            other=blocks * self.other,
        )

    @property
    def flops(self) -> int:
        """2 operations per multiply-add; attention has two products, of queries and keys and with values."""
        linear = sum(rows * weights for rows, weights in self.linear)
        attention = sum(2 * pairs * width for pairs, width in self.attention)
        return 2 * (linear + attention + self.other)

    @property
    def weights(self) -> int:
        """Weights that some row meets, each counted once."""
        return sum(weights for rows, weights in self.linear if rows)

    @property
    def attends(self) -> bool:
        """Whether any row attends to anything."""
        return any(pairs for pairs, _ in self.attention)


def blocks_work(rows: int, pairs: int, sizes: Sizes) -> Work:
    """What the decoder's blocks cost where rows pass all weights and attend in so many pairs per block."""
    return Work(
        linear=((rows, sizes.layers * sizes.block),),
        attention=((sizes.layers * pairs, sizes.heads_width),),
    )


def decoder_work(chunk: Chunk, sizes: Sizes, per_frame: int = 0) -> Work:
    """What the decoder's own blocks cost: each new row passes all weights and attends to all rows so far.
    Frames have ``per_frame`` rows in the token stream."""
    rows = chunk.rows(per_frame)
    return blocks_work(rows, rows * chunk.now.rows(per_frame), sizes)
