"""Streaming eviction against its definition, token by token, and what its cache may hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.backbones.decoder import Decoder, DecoderBlock
from harness.errors import UsageError
from harness.fusion_impls.streaming_eviction import StreamingEvictionConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.measure.flops import count_flops

from .conftest import Pair
from .streams import plans, question, seeds, spans_from

Build = Callable[..., Pair]
some = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def as_double(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(FrameSpan(s.tokens.double(), s.time_s) if isinstance(s, FrameSpan) else s for s in spans)


@dataclass(frozen=True)
class Token:
    """A token's number in the stream and its frame; none for text."""

    number: int
    frame: int | None


def seen_by_each(spans: Sequence[Span], config: StreamingEvictionConfig) -> list[list[Token]]:
    """A cache that is simulated token by token: what each token sees, itself included."""
    cache: list[Token] = []
    seen: list[list[Token]] = []
    sinks: list[Token] = []
    frame = -1
    for span in spans:
        if isinstance(span, FrameSpan):
            frame += 1
            text = [t for t in cache if t.frame is None]
            recent = text[max(0, len(text) - config.text_window) :]
            cache = [
                t
                for t in cache
                if (t.frame > frame - config.frames if t.frame is not None else t in sinks or t in recent)
            ]
        for _ in range(len(span.tokens if isinstance(span, FrameSpan) else span.ids)):
            token = Token(len(seen), frame if isinstance(span, FrameSpan) else None)
            if token.frame is None and len(sinks) < config.sinks:
                sinks.append(token)
            cache.append(token)
            seen.append(list(cache))
    return seen


def places(tokens: Sequence[Token], per_token: bool) -> list[int]:
    """Contiguous positions."""
    out: list[int] = []
    for i, token in enumerate(tokens):
        same = i > 0 and token.frame is not None and tokens[i - 1].frame == token.frame and not per_token
        out.append(0 if i == 0 else out[-1] + (not same))
    return out


def eager_layer(
    decoder: Decoder, block: DecoderBlock, h: Tensor, seen: list[list[Token]], per_token: bool
) -> Tensor:
    attention, x = block.attention, block.normed(h)
    rows = []
    for number, tokens in enumerate(seen):
        rope = decoder.rope(torch.tensor(places(tokens, per_token)), h)
        visible = x[[t.number for t in tokens]]
        last = tuple(part[-1:] for part in rope)
        q = attention.queries(x[number : number + 1], (last[0], last[1]))[0]
        k, v = attention.keys(visible, rope), attention.values(visible)
        groups = len(q) // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        weights = (torch.einsum("hd,shd->hs", q, k) * attention.scale).softmax(-1)
        rows.append(torch.einsum("hs,shd->hd", weights, v))
    return block.ffn(h + attention.output(torch.stack(rows)))


@some
@given(
    seed=seeds,
    plan=plans,
    sinks=st.integers(0, 3),
    text_window=st.integers(0, 4),
    frames=st.integers(1, 3),
    per_token=st.booleans(),
)
def test_equals_a_simulated_cache(
    build: Build,
    seed: int,
    plan: list[tuple[str, int]],
    sinks: int,
    text_window: int,
    frames: int,
    per_token: bool,
) -> None:
    config = StreamingEvictionConfig(
        sinks=sinks,
        text_window=text_window,
        frames=frames,
        positions="one_per_token" if per_token else "one_per_frame",
    )
    decoder, fusion = build(
        "streaming_eviction",
        sinks=sinks,
        text_window=text_window,
        frames=frames,
        positions=config.positions,
    )
    spans = as_double(spans_from(seed, plan))
    seen = seen_by_each(spans, config)
    h = torch.cat([s.tokens if isinstance(s, FrameSpan) else decoder.embed(s.ids) for s in spans])
    for i in range(len(decoder.blocks)):
        h = eager_layer(decoder, decoder.block(i), h, seen, per_token)
    state = fusion.new_state()
    torch.testing.assert_close(fusion.run([PackedSample(spans)], decoder)[0], h, atol=1e-9, rtol=0)
    fusion.run([PackedSample(spans)], decoder, state)
    assert [len(t) for t in state.text.tensors()] == [len(seen[-1])] * 6


@some
@given(seed=seeds, plan=plans, per_token=st.booleans())
def test_with_room_for_all_it_is_token_insertion(
    build: Build, seed: int, plan: list[tuple[str, int]], per_token: bool
) -> None:
    positions = "one_per_token" if per_token else "one_per_frame"
    sample = PackedSample(as_double(spans_from(seed, plan)), (question(seed, 3), question(seed + 1, 2)))
    outputs = [
        fusion.run([sample], decoder)[0]
        for decoder, fusion in (
            build("streaming_eviction", sinks=1, text_window=100, frames=100, positions=positions),
            build("token_insertion", positions=positions),
        )
    ]
    torch.testing.assert_close(*outputs, atol=1e-9, rtol=0)


def turns(count: int) -> tuple[Span, ...]:
    return as_double(spans_from(4, [("frame", 5), ("text", 3)] * count))


def test_bytes_and_positions_are_bounded(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 + 4 text tokens, 3 frames of 6 tokens and the last turn's text, however long the stream is."""
    decoder, fusion = build("streaming_eviction", sinks=2, text_window=4, frames=3)
    largest, rope = [0], Decoder.rope

    def noting(self: Decoder, positions_t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        largest.append(max(positions_t.tolist(), default=0))
        return rope(self, positions_t, like)

    monkeypatch.setattr(Decoder, "rope", noting)
    state = fusion.new_state()
    sizes = []
    for span in turns(40):
        fusion.run([PackedSample((span,))], decoder, state)
        sizes.append(state.bytes_by_kind())
    per_row = 3 * 2 * 2 * 24 * 8
    assert sizes[-1] == sizes[20] == {"text_kv": 9 * per_row, "image_kv": 18 * per_row, "gist_kv": 0}
    assert max(largest) == 2 + 4 + 3 + 3 - 1


def test_one_pass_is_linear_in_frames(build: Build) -> None:
    decoder, fusion = build("streaming_eviction", sinks=2, text_window=4, frames=2)

    def flops(frames: int) -> int:
        counted = count_flops(partial(fusion.run, [PackedSample(turns(frames))], decoder))
        assert counted is not None
        return counted

    assert flops(24) - flops(16) == flops(16) - flops(8) > 0


def test_a_question_without_a_stream(build: Build) -> None:
    decoder, fusion = build("streaming_eviction")
    asked = TextSpan(torch.tensor([5, 6, 7]))
    alone = fusion.run([PackedSample((), (asked,))], decoder)[0]
    torch.testing.assert_close(alone, fusion.run([PackedSample((asked,))], decoder)[0], atol=1e-12, rtol=0)


def test_questions_continue_what_a_session_keeps(build: Build) -> None:
    decoder, fusion = build("streaming_eviction", sinks=1, text_window=2, frames=2)
    asked, state = question(3, 3), fusion.new_state()
    fusion.run([PackedSample(turns(5))], decoder, state)
    alone = fusion.run([PackedSample((asked,))], decoder, state.fork())[0]
    branches = fusion.run([PackedSample((), (asked, asked))], decoder, state.fork())[0]
    torch.testing.assert_close(branches, torch.cat((alone, alone)), atol=1e-12, rtol=0)


def test_runs_without_storage(build: Build) -> None:
    decoder, fusion = copy.deepcopy(build("streaming_eviction", frames=1))
    decoder.to("meta")
    fusion.to("meta")
    spans = [
        FrameSpan(s.tokens.to("meta"), s.time_s) if isinstance(s, FrameSpan) else s
        for s in spans_from(2, [("frame", 5), ("text", 3), ("frame", 5)])
    ]
    state = fusion.new_state()
    h, layout = fusion.run([PackedSample(tuple(spans))], decoder, state)
    assert h.is_meta
    assert h.shape == (len(layout.rows), 96)
    assert [len(t) for t in state.text.tensors()] == [1 + 3 + 6] * 6


@pytest.mark.parametrize(("name", "wrong"), [("sinks", -1), ("text_window", -1), ("frames", 0)])
def test_impossible_settings_are_refused(build: Build, name: str, wrong: int) -> None:
    with pytest.raises(UsageError, match=f"{name}={wrong}"):
        build("streaming_eviction", **{name: wrong})
