"""Random interleaved streams for property tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from harness.layout import FrameSpan, PackedSample, Span, TextSpan

WIDTH, VOCABULARY = 96, 120


def spans_from(seed: int, plan: list[tuple[str, int]]) -> tuple[Span, ...]:
    """Spans from a plan of ("text", length), ("frame", new time?) items; contents follow from the seed."""
    generator = torch.Generator().manual_seed(seed)
    spans: list[Span] = [TextSpan(torch.tensor([2]))]
    time_s = 0.0
    for what, number in plan:
        if what == "text":
            spans.append(TextSpan(torch.randint(4, VOCABULARY, (number,), generator=generator)))
        else:
            time_s += number % 2
            tokens: Tensor = torch.randn(1 + number, WIDTH, generator=generator)
            spans.append(FrameSpan(tokens, time_s))
    return tuple(spans)


def in_double(spans: tuple[Span, ...]) -> PackedSample:
    """A stream with its frames' tokens in float64."""
    return PackedSample(
        tuple(
            replace(span, tokens=span.tokens.double()) if isinstance(span, FrameSpan) else span
            for span in spans
        )
    )


items = st.one_of(
    st.tuples(st.just("text"), st.integers(1, 4)),
    st.tuples(st.just("frame"), st.integers(0, 5)),
)
plans = st.lists(items, min_size=0, max_size=8)
seeds = st.integers(0, 2**16)


def question(seed: int, length: int) -> TextSpan:
    generator = torch.Generator().manual_seed(seed)
    return TextSpan(torch.randint(4, VOCABULARY, (length,), generator=generator))


def random_batch(seed: int, count: int) -> list[PackedSample]:
    """A batch of random samples with one to three branches each."""
    rng = np.random.default_rng(seed)
    batch = []
    for number in range(count):
        plan = [
            ("text", int(rng.integers(1, 4))) if rng.random() < 0.4 else ("frame", int(rng.integers(0, 6)))
            for _ in range(rng.integers(0, 7))
        ]
        branches = tuple(question(seed * 31 + number * 7 + i, int(rng.integers(1, 5))) for i in range(3))
        batch.append(PackedSample(spans_from(seed + number, plan), branches[: rng.integers(1, 4)]))
    return batch
