"""VoCo-LLaMA against its attention mask, and what its sessions keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.fusion_impls.voco import VoCo, compressed_blocks
from harness.layout import Cursor, FrameSpan, Kind, PackedSample, Span

from .conftest import Pair
from .dense import Token, as_double, dense_attention, rope_of, stacked, tokens_of
from .streams import plans, question, seeds, spans_from

PLAN = [("text", 2), ("frame", 5), ("text", 3), ("frame", 2), ("frame", 4), ("text", 2)]
Build = Callable[..., Pair]
some = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def sees(query: Token, key: Token) -> bool:
    """The rule for a key that is not after the query: images are for themselves and their VoCo tokens."""
    return key.kind != Kind.IMAGE or (key.frame == query.frame and query.kind != Kind.TEXT)


def eager(decoder: Decoder, fusion: VoCo, spans: Sequence[Span]) -> Tensor:
    """All rows under one mask: [R, d]."""
    tokens = tokens_of(decoder, spans, fusion.c.positions, fusion.voco_tokens)
    mask = torch.tensor([[n <= t and sees(q, k) for n, k in enumerate(tokens)] for t, q in enumerate(tokens)])
    h, rope = stacked(tokens, decoder.embed.weight), rope_of(decoder, tokens)
    for i in range(len(decoder.blocks)):
        block, attention = decoder.block(i), decoder.block(i).attention
        x = block.normed(h)
        q, k, v = attention.queries(x, rope), attention.keys(x, rope), attention.values(x)
        h = block.ffn(h + attention.output(dense_attention(q, k, v, mask, attention.scale)))
    return h


@some
@given(
    seed=seeds,
    plan=plans,
    count=st.sampled_from([1, 3]),
    positions=st.sampled_from(["one_per_frame", "one_per_token"]),
)
def test_equals_the_mask(
    build: Build, seed: int, plan: list[tuple[str, int]], count: int, positions: str
) -> None:
    decoder, fusion = build("voco", tokens=count, positions=positions)
    assert isinstance(fusion, VoCo)
    spans = as_double(spans_from(seed, plan))
    h, _ = fusion.run([PackedSample(spans)], decoder)
    torch.testing.assert_close(h, eager(decoder, fusion, spans), atol=1e-9, rtol=0)


def test_the_mask_of_a_small_stream(build: Build) -> None:
    """T text, I image, V VoCo token: every pair, by hand, for T I I V I V T and the branch B."""
    _, fusion = build("voco", tokens=1)
    two, one = (FrameSpan(torch.zeros(n, 96), float(n)) for n in (2, 1))
    sample = PackedSample((question(0, 1), two, one, question(0, 1)), (question(1, 1),))
    layout = fusion.lay_out([sample], [Cursor()], 96)
    pattern = compressed_blocks(layout.rows, cached=0)
    mask = np.zeros((8, 8), dtype=int)
    for block in pattern:
        for n, row in enumerate(block.queries):
            mask[row, block.keys[: len(block.keys) - len(block.queries) + n + 1]] = 1
    assert ["".join(map(str, row)) for row in mask] == [
        "10000000",  # T
        "11000000",  # I of the first frame
        "11100000",  # I of the first frame
        "11110000",  # V of the first frame
        "10011000",  # I of the second frame
        "10011100",  # V of the second frame
        "10010110",  # T
        "10010111",  # B
    ]


def test_text_alone_is_token_insertion_to_the_bit(build: Build) -> None:
    decoder, fusion = build("voco")
    inserted = TokenInsertion(TokenInsertionConfig(), decoder)
    sample = PackedSample((question(3, 7),), (question(4, 2), question(5, 3)))
    assert torch.equal(fusion.run([sample], decoder)[0], inserted.run([sample], decoder)[0])


def test_text_does_not_change_when_images_are_scrambled_behind_their_voco_tokens(build: Build) -> None:
    """In the last block, only image rows and VoCo tokens take notice of other image keys and values."""
    decoder, fusion = build("voco")
    sample = PackedSample(as_double(spans_from(4, PLAN)), (question(1, 3),))
    before, layout = fusion.run([sample], decoder)
    image = torch.from_numpy(layout.rows.kind == Kind.IMAGE)

    def scramble(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.where(image[:, None], output.flip(1) + 1.0, output)

    attention = decoder.block(len(decoder.blocks) - 1).attention
    handles = [part.register_forward_hook(scramble) for part in (attention.k_proj, attention.v_proj)]
    after = fusion.run([sample], decoder)[0]
    for handle in handles:
        handle.remove()
    changed = (after - before).abs().amax(dim=1)
    assert changed[torch.from_numpy(layout.rows.kind == Kind.TEXT)].max() == 0
    assert changed[torch.from_numpy(layout.rows.kind != Kind.TEXT)].min() > 1e-6


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("side", [1, 9])
def test_a_session_keeps_voco_tokens_whatever_the_images_size(build: Build, count: int, side: int) -> None:
    decoder, fusion = build("voco", tokens=count)
    state = fusion.new_state()
    for second in range(4):
        frame = FrameSpan(torch.randn(side * side, 96, dtype=torch.float64), float(second))
        fusion.run([PackedSample((frame, question(second, 2)))], decoder, state)
        assert state.text.columns["kind"].tolist() == ([Kind.GIST] * count + [Kind.TEXT] * 2) * (second + 1)
    per_row = 3 * 2 * 2 * 24 * 8
    assert state.bytes_by_kind() == {
        "text_kv": 8 * per_row,
        "image_kv": 0,
        "gist_kv": 4 * count * per_row,
    }


def test_images_take_positions_as_set(build: Build) -> None:
    """A frame of 4 tokens, then 2 VoCo tokens, then text."""
    spans = (question(0, 1), FrameSpan(torch.zeros(4, 96), 0.0), question(1, 2))
    for positions, expected in (
        ("one_per_frame", [0, 1, 1, 1, 1, 2, 3, 4, 5]),
        ("one_per_token", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ):
        _, fusion = build("voco", positions=positions)
        layout = fusion.lay_out([PackedSample(spans)], [Cursor()], 96)
        assert layout.rows.position.tolist() == expected


def test_runs_without_storage(build: Build) -> None:
    decoder, fusion = copy.deepcopy(build("voco"))
    decoder.to("meta")
    fusion.to("meta")
    spans = [
        FrameSpan(s.tokens.to("meta"), s.time_s) if isinstance(s, FrameSpan) else s
        for s in spans_from(2, PLAN)
    ]
    state = fusion.new_state()
    h, layout = fusion.run([PackedSample(tuple(spans))], decoder, state)
    assert h.is_meta
    assert h.shape == (len(layout.rows), 96)
    assert [len(t) for t in state.text.tensors()] == [8 + 3 * 2] * 6


@pytest.mark.parametrize("tokens", [0, -1])
def test_a_frame_needs_a_voco_token(build: Build, tokens: int) -> None:
    with pytest.raises(UsageError, match=f"voco tokens={tokens} is not usable; give 1"):
        build("voco", tokens=tokens)
