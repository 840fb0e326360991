"""Hyper attention against its equations, its positions and gates, and what it computes once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.backbones.decoder import Decoder, Projections
from harness.errors import UsageError
from harness.fusion import IMAGES
from harness.fusion_impls.hyper_attention import Gate, HyperAttention, HyperAttentionConfig, spread
from harness.fusion_impls.no_visual_self_attention import (
    NoVisualSelfAttention,
    NoVisualSelfAttentionConfig,
)
from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.layout import Cursor, FrameSpan, Kind, PackedSample, Span
from harness.models import build_model

from .conftest import Pair
from .dense import Token, as_double, dense_attention, rope_of, stacked, tokens_of
from .streams import plans, question, seeds, spans_from

PLAN = [("text", 2), ("frame", 5), ("text", 3), ("frame", 2), ("frame", 4), ("text", 2)]
GATED = ["row_gate", "channel_gate"]
Build = Callable[..., Pair]
some = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def hyper(build: Build, **chosen: object) -> tuple[Decoder, HyperAttention]:
    decoder, fusion = build("hyper_attention", **chosen)
    assert isinstance(fusion, HyperAttention)
    return decoder, fusion


def split(decoder: Decoder, fusion: HyperAttention, spans: Sequence[Span]) -> tuple[list[Token], list[Token]]:
    """Rows and image tokens; an image is at the position of its placeholder, which may be left out."""
    there = fusion.c.placeholder
    tokens = tokens_of(decoder, spans, "one_per_frame", fusion.placeholders, with_image=there)
    return [t for t in tokens if t.kind != Kind.IMAGE], [t for t in tokens if t.kind == Kind.IMAGE]


def eager(decoder: Decoder, fusion: HyperAttention, spans: Sequence[Span]) -> Tensor:
    """The equations over dense masks: [R, d]."""
    rows, images = split(decoder, fusion, spans)
    h, y = (stacked(tokens, decoder.embed.weight) for tokens in (rows, images))
    rope, image_rope = rope_of(decoder, rows), rope_of(decoder, images)
    causal = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
    past = torch.tensor([[m.frame <= r.frame for m in images] for r in rows], dtype=torch.bool)
    past = past.view(len(rows), len(images))
    for i in range(len(decoder.blocks)):
        block, attention = decoder.block(i), decoder.block(i).attention
        x, z, scale = block.normed(h), block.normed(y), attention.scale
        q, k, v = attention.queries(x, rope), attention.keys(x, rope), attention.values(x)
        out = dense_attention(q, k, v, causal, scale)
        if i in fusion.slots:
            own = fusion.images[fusion.slots[i]]
            assert isinstance(own, Projections)
            k_image, v_image = own.keys(z, image_rope), own.values(z)
            if fusion.c.fusion == "one_softmax":
                k, v, mask = torch.cat((k, k_image)), torch.cat((v, v_image)), torch.cat((causal, past), 1)
                out = dense_attention(q, k, v, mask, scale)
            else:
                gate = fusion.gates[fusion.slots[i]]
                assert isinstance(gate, Gate)
                weight = gate.weight
                by_row = fusion.c.fusion == "row_gate"
                text = out.flatten(1)
                g = torch.sigmoid((text * weight).sum(1, keepdim=True) if by_row else weight)
                fused = (1 - g) * text + g * dense_attention(q, k_image, v_image, past, scale).flatten(1)
                out = torch.where(past.any(1)[:, None], fused, text).view_as(out)
        h = block.ffn(h + attention.output(out))
    return h


@pytest.mark.parametrize("fusion", [*GATED, "one_softmax"])
@pytest.mark.parametrize("placeholder", [True, False])
@some
@given(seed=seeds, plan=plans, layers=st.sampled_from(["spread", (1,), (0, 1, 2)]))
def test_equals_the_equations(
    build: Build, seed: int, plan: list[tuple[str, int]], layers: object, fusion: str, placeholder: bool
) -> None:
    decoder, method = hyper(build, layers=layers, fusion=fusion, placeholder=placeholder)
    spans = as_double(spans_from(seed, plan))
    h, _ = method.run([PackedSample(spans)], decoder)
    torch.testing.assert_close(h, eager(decoder, method, spans), atol=1e-9, rtol=0)


@pytest.mark.parametrize("fusion", [*GATED, "one_softmax"])
def test_rows_before_the_first_image_are_plain_self_attention_to_the_bit(build: Build, fusion: str) -> None:
    """They are in one pass with rows that see images, so that the gate must leave them out."""
    decoder, method = hyper(build, fusion=fusion)
    plain = TokenInsertion(TokenInsertionConfig(), decoder)
    text, frame = question(3, 7), FrameSpan(torch.randn(4, 96, dtype=torch.float64), 0.0)
    expected = plain.run([PackedSample((text,))], decoder)[0]
    assert torch.equal(method.run([PackedSample((text,))], decoder)[0], expected)
    together = method.run([PackedSample((text, frame, question(4, 2)))], decoder)[0]
    torch.testing.assert_close(together[:7], expected, atol=1e-12, rtol=0)


def test_the_order_of_an_images_tokens_does_not_matter(build: Build) -> None:
    """MI-RoPE: they share one position, and nothing else tells them apart."""
    decoder, method = hyper(build)
    spans = as_double(spans_from(2, PLAN))
    turned = [FrameSpan(s.tokens.flip(0), s.time_s) if isinstance(s, FrameSpan) else s for s in spans]
    outputs = [method.run([PackedSample(tuple(s))], decoder)[0] for s in (spans, turned)]
    torch.testing.assert_close(*outputs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("placeholder", [True, False])
def test_an_image_takes_one_position_whatever_its_size(build: Build, placeholder: bool) -> None:
    _, method = hyper(build, placeholder=placeholder)
    large, small = (FrameSpan(torch.zeros(n, 96), float(n)) for n in (9, 1))
    sample = PackedSample((question(0, 2), large, small, question(0, 2)))
    layout = method.lay_out([sample], [Cursor()], 96)
    assert layout.images.position.tolist() == [2] * 9 + [3]
    assert layout.rows.position.tolist() == ([0, 1, 2, 3, 4, 5] if placeholder else [0, 1, 4, 5])


def test_a_placeholder_sees_all_images_up_to_its_own(build: Build) -> None:
    decoder, method = hyper(build, layers=(0,))
    spans = as_double(spans_from(6, [("frame", 3), ("frame", 2), ("text", 1)]))
    before, layout = method.run([PackedSample(spans)], decoder)
    placeholders = torch.from_numpy(layout.rows.kind == Kind.GIST)
    for changed, expected in ((1, [True, True]), (2, [False, True])):
        other = [*spans]
        frame = other[changed]
        assert isinstance(frame, FrameSpan)
        other[changed] = FrameSpan(frame.tokens + 1.0, frame.time_s)
        after = method.run([PackedSample(tuple(other))], decoder)[0]
        assert ((after - before).abs().amax(1) > 1e-6)[placeholders].tolist() == expected


@pytest.mark.parametrize("by_row", [True, False])
def test_a_gate_starts_half_open(by_row: bool) -> None:
    gate = Gate(8, by_row)(torch.randn(3, 2, 4))
    assert gate.broadcast_to(3, 2, 4).tolist() == torch.full((3, 2, 4), 0.5).tolist()


def test_a_closed_gate_shuts_images_out(build: Build) -> None:
    decoder, method = copy.deepcopy(hyper(build, fusion="channel_gate"))
    spans = as_double(spans_from(3, PLAN))
    with torch.no_grad():
        for gate in method.gates:
            assert isinstance(gate, Gate)
            gate.weight.fill_(-1000.0)
    closed = method.run([PackedSample(spans)], decoder)[0]
    method.slots = {}
    plain = method.run([PackedSample(spans)], decoder)[0]
    torch.testing.assert_close(closed, plain, atol=1e-12, rtol=0)


def test_one_softmax_with_the_blocks_projections_is_no_visual_self_attention(build: Build) -> None:
    decoder, method = copy.deepcopy(hyper(build, fusion="one_softmax", placeholder=False, layers=(0, 2)))
    for i, slot in method.slots.items():
        own, attention = method.images[slot], decoder.block(i).attention
        assert isinstance(own, Projections)
        own.k_proj, own.v_proj, own.k_norm = attention.k_proj, attention.v_proj, attention.k_norm
    shared = NoVisualSelfAttention(NoVisualSelfAttentionConfig(layers=(0, 2)), decoder)
    sample = PackedSample(as_double(spans_from(7, PLAN)), (question(1, 3), question(2, 2)))
    outputs = [m.run([sample], decoder)[0] for m in (method, shared)]
    torch.testing.assert_close(*outputs, atol=1e-12, rtol=0)


def test_images_are_projected_once_and_kept_in_the_chosen_blocks(build: Build) -> None:
    """8 text tokens, 3 placeholders and 14 image tokens, span by span, then a question."""
    decoder, method = hyper(build, layers=(1,))
    state, counts = method.new_state(), [0, 0]
    own = method.images[0]
    assert isinstance(own, Projections)

    def count(n: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            counts[n] += len(inputs[0])

        return add

    parts = (own.k_proj, decoder.block(1).attention.q_proj)
    handles = [part.register_forward_pre_hook(count(n)) for n, part in enumerate(parts)]
    for span in (*as_double(spans_from(1, PLAN)), question(1, 2)):
        method.run([PackedSample((span,))], decoder, state)
    for handle in handles:
        handle.remove()
    images, rows = 6 + 3 + 5, 8 + 3 + 2
    assert counts == [images, rows]
    assert [len(t) for t in state.extra[IMAGES].tensors()] == [images] * 2
    per_row = 2 * 2 * 24 * 8
    assert state.bytes_by_kind() == {
        "text_kv": 3 * 10 * per_row,
        "image_kv": images * per_row,
        "gist_kv": 3 * 3 * per_row,
    }


def test_own_projections_are_keys_and_values_that_start_from_the_blocks() -> None:
    decoder = build_model("token_insertion", {}, "tiny-qwen3", 0).decoder
    method = HyperAttention(HyperAttentionConfig(), decoder)
    for i, slot in method.slots.items():
        own, block = method.images[slot].state_dict(), decoder.block(i).attention.state_dict()
        assert set(own) == {"k_proj.weight", "v_proj.weight", "k_norm.weight"}
        assert all(torch.equal(value, block[name]) for name, value in own.items())


@pytest.mark.parametrize(
    ("blocks", "expected"), [(1, (0,)), (3, (0, 2)), (4, (0, 2)), (8, (0, 2, 4, 6)), (28, (0, 7, 14, 21))]
)
def test_few_blocks_are_spread(blocks: int, expected: tuple[int, ...]) -> None:
    assert spread(blocks) == expected


@pytest.mark.parametrize("fusion", [*GATED, "one_softmax"])
def test_runs_without_storage(build: Build, fusion: str) -> None:
    decoder, method = copy.deepcopy(hyper(build, fusion=fusion))
    decoder.to("meta")
    method.to("meta")
    spans = [
        FrameSpan(s.tokens.to("meta"), s.time_s) if isinstance(s, FrameSpan) else s
        for s in spans_from(2, PLAN)
    ]
    h, layout = method.run([PackedSample(tuple(spans))], decoder, method.new_state())
    assert h.is_meta
    assert h.shape == (len(layout.rows), 96)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ()}, "hyper_attention layers= is not usable"),
        ({"layers": (2, 1)}, "layers=2/1.*rising order"),
        ({"layers": (0, 5)}, "layers=0/5.*give numbers from 0 to 2"),
    ],
)
def test_impossible_settings_are_refused(build: Build, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("hyper_attention", **wrong)
