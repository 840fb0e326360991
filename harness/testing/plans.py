"""Streams for property checks, written as text so that a failure can be run again.

``"7: t2 f4 f3= t0 | t3 t1"`` is a stream of two text tokens, a frame of four tokens, a frame of three with
the same time stamp, an empty text, and two branches (questions that each continue the stream on their own) of
three tokens and one. Contents are random and follow from the seed before the colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.layout import FrameSpan, PackedSample, Span, TextSpan

WIDTH = 96
"""Model width of the backbones that methods are checked on."""
VOCABULARY = 128

_ITEM = re.compile(r"t\d+|f[1-9]\d*=?")


@dataclass(frozen=True, slots=True)
class Item:
    """A text of ``size`` tokens or a frame of ``size`` tokens; ``again``: at the time of the frame before."""

    frame: bool
    size: int
    again: bool = False

    def __str__(self) -> str:
        return f"{'f' if self.frame else 't'}{self.size}{'=' if self.again else ''}"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _ITEM.fullmatch(text):
            raise UsageError(f"stream item {text!r} is not usable; write t3 for text, f4 or f4= for a frame")
        return cls(text[0] == "f", int(text[1:].rstrip("=")), text.endswith("="))


@dataclass(frozen=True, slots=True)
class Plan:
    """A stream and the lengths of its branches; everything in it follows from the seed."""

    seed: int
    items: tuple[Item, ...]
    branches: tuple[int, ...] = ()

    def __str__(self) -> str:
        tail = ["|", *(f"t{n}" for n in self.branches)] if self.branches else []
        return " ".join([f"{self.seed}:", *map(str, self.items), *tail])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str``; raises UsageError."""
        seed, colon, rest = text.partition(":")
        if not colon or not seed.strip().isdecimal():
            raise UsageError(
                f"stream {text!r} is not usable; write SEED: ITEMS, for instance '7: t2 f4 t1 | t3'"
            )
        prefix, _, tail = rest.partition("|")
        branches = [Item.parse(item) for item in tail.split()]
        if any(branch.frame or not branch.size for branch in branches):
            raise UsageError(f"stream {text!r} is not usable: a branch is text of at least one token")
        return cls(
            int(seed),
            tuple(Item.parse(item) for item in prefix.split()),
            tuple(branch.size for branch in branches),
        )

    def spans(self, dtype: torch.dtype = torch.float64) -> tuple[Span, ...]:
        """The stream's spans. A shorter stream with the same seed has the same contents as far as it goes."""
        generator = torch.Generator().manual_seed(self.seed)
        spans: list[Span] = []
        time_s = 0.0
        for item in self.items:
            if item.frame:
                time_s += 0.0 if item.again else 1.0
                tokens = frame_tokens(generator, item.size).to(dtype)
                spans.append(FrameSpan(tokens, time_s, grid_of(item.size)))
            else:
                spans.append(text_span(generator, item.size))
        return tuple(spans)

    def questions(self) -> tuple[TextSpan, ...]:
        """The texts of the branches."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return tuple(text_span(generator, n) for n in self.branches)

    def sample(self, dtype: torch.dtype = torch.float64) -> PackedSample:
        return PackedSample(self.spans(dtype), self.questions())

    def batch(self, dtype: torch.dtype = torch.float64) -> list[PackedSample]:
        """Samples of different lengths and contents: this stream, its items in reverse, its first half."""
        others = (self.items[::-1], self.items[: len(self.items) // 2])
        plans = (
            self,
            *(replace(self, seed=self.seed + 2 + n, items=items) for n, items in enumerate(others)),
        )
        return [plan.sample(dtype) for plan in plans]

    def smaller(self) -> Iterator[Plan]:
        """Streams with one thing less."""
        for i, item in enumerate(self.items):
            yield replace(self, items=self.items[:i] + self.items[i + 1 :])
            if item.size > 1:
                less = replace(item, size=item.size // 2)
                yield replace(self, items=(*self.items[:i], less, *self.items[i + 1 :]))
        for i, n in enumerate(self.branches):
            yield replace(self, branches=self.branches[:i] + self.branches[i + 1 :])
            if n > 1:
                yield replace(self, branches=(*self.branches[:i], n // 2, *self.branches[i + 1 :]))


def grid_of(tokens: int) -> tuple[int, int]:
    """Two rows where the number is even, else one."""
    return (2, tokens // 2) if tokens % 2 == 0 else (1, tokens)


def frame_tokens(generator: torch.Generator, count: int) -> Tensor:
    """Random tokens [count, WIDTH] of a frame."""
    return torch.randn(count, WIDTH, generator=generator)


def text_span(generator: torch.Generator, count: int) -> TextSpan:
    return TextSpan(torch.randint(VOCABULARY, (count,), generator=generator))


def random_plan(seed: int) -> Plan:
    """A stream of up to eight texts and frames with one to three branches."""
    rng = np.random.default_rng(seed)
    items = [Item(False, 1)] if rng.random() < 0.75 else []
    for _ in range(rng.integers(0, 8)):
        if rng.random() < 0.4:
            items.append(Item(False, int(rng.integers(1, 5))))
        else:
            items.append(Item(True, int(rng.integers(1, 7)), again=bool(rng.random() < 0.4)))
    branches = tuple(int(n) for n in rng.integers(1, 5, size=rng.integers(1, 4)))
    return Plan(seed, tuple(items), branches)


def atoms(spans: tuple[Span, ...]) -> list[Span]:
    """The same stream with every text token a span of its own."""
    cut: list[Span] = []
    for span in spans:
        if isinstance(span, TextSpan):
            cut.extend(TextSpan(span.ids[i : i + 1]) for i in range(len(span.ids)))
        else:
            cut.append(span)
    return cut


def chunkings(count: int, seed: int) -> dict[str, list[int]]:
    """Ways to cut ``count`` spans into chunks, by name: where each chunk ends."""
    rng = np.random.default_rng(seed)
    ways = {"in one chunk": [count], "one by one": list(range(1, count + 1))}
    if count > 2:
        cuts = sorted(set(rng.integers(1, count, size=3).tolist()))
        ways["in chunks that end after spans " + ", ".join(map(str, cuts))] = [*cuts, count]
    return ways
