"""No visual self-attention against its definition: token insertion in which images never query."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Qwen3Config

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion import IMAGES
from harness.fusion_impls.casa import CASA, CASAConfig
from harness.fusion_impls.no_visual_self_attention import (
    NoVisualSelfAttention,
    NoVisualSelfAttentionConfig,
)
from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.layout import FrameSpan, Kind, PackedSample, Span, TextSpan
from harness.models import method_config

from .conftest import Pair, use_exact_norms
from .dense import as_double, dense_attention, rope_of, stacked, tokens_of
from .streams import plans, question, seeds, spans_from

NAME = "no_visual_self_attention"
PLAN = [("text", 2), ("frame", 5), ("text", 3), ("frame", 2), ("frame", 4), ("text", 2)]
Build = Callable[..., Pair]
some = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def eager(decoder: Decoder, fusion: NoVisualSelfAttention, spans: Sequence[Span]) -> Tensor:
    """All tokens as rows of every block; a mask over all of them keeps images from seeing anything.

    Returns the text rows [R, d].
    """
    config = fusion.c
    tokens = tokens_of(decoder, spans, config.positions)
    text = torch.tensor([t.kind == Kind.TEXT for t in tokens])
    order = torch.arange(len(tokens))
    before = order[None] <= order[:, None]
    h, rope = stacked(tokens, decoder.embed.weight), rope_of(decoder, tokens)
    start = h
    for i in range(len(decoder.blocks)):
        block, own = decoder.block(i), h
        if config.image_updates == "mlp" and i in fusion.slots:
            own = torch.where(text[:, None], h, fusion.mlps[fusion.slots[i]](start))
        x, attention = block.normed(own), block.attention
        seen = torch.ones_like(text) if i in fusion.slots else text
        mask = before & seen[None] & text[:, None]
        q, k, v = attention.queries(x, rope), attention.keys(x, rope), attention.values(x)
        h = h + attention.o_proj(dense_attention(q, k, v, mask, attention.scale).flatten(1))
        changed = text if config.image_updates != "ffn" else torch.ones_like(text)
        h = torch.where(changed[:, None], block.ffn(h), h)
    return h[text]


@some
@given(
    seed=seeds,
    plan=plans,
    layers=st.sampled_from(["all", (0,), (1,), (0, 2)]),
    updates=st.sampled_from(["none", "ffn", "mlp"]),
    positions=st.sampled_from(["aside", "one_per_frame", "one_per_token"]),
)
def test_equals_token_insertion_whose_images_see_nothing(
    build: Build, seed: int, plan: list[tuple[str, int]], layers: object, updates: str, positions: str
) -> None:
    decoder, fusion = build(NAME, layers=layers, image_updates=updates, positions=positions)
    assert isinstance(fusion, NoVisualSelfAttention)
    spans = as_double(spans_from(seed, plan))
    h, _ = fusion.run([PackedSample(spans)], decoder)
    torch.testing.assert_close(h, eager(decoder, fusion, spans), atol=1e-9, rtol=0)


@pytest.mark.parametrize("updates", ["none", "ffn"])
@pytest.mark.parametrize("positions", ["aside", "one_per_frame", "one_per_token"])
def test_is_casa_with_everything_but_visual_attention_bridged(
    build: Build, updates: Any, positions: Any
) -> None:
    decoder, fusion = build(NAME, image_updates=updates, positions=positions)
    bridged = CASA(
        CASAConfig(
            parameters="shared",
            keys="image_text",
            positions=positions,
            placement="replace",
            image_updates=updates,
            windows="all",
            gists=0,
        ),
        decoder,
    )
    sample = PackedSample(as_double(spans_from(7, PLAN)), (question(1, 3), question(2, 2)))
    outputs = [method.run([sample], decoder)[0] for method in (fusion, bridged)]
    torch.testing.assert_close(*outputs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("updates", ["none", "ffn", "mlp"])
def test_text_alone_is_token_insertion_to_the_bit(build: Build, updates: str) -> None:
    decoder, fusion = build(NAME, image_updates=updates)
    inserted = TokenInsertion(TokenInsertionConfig(), decoder)
    sample = PackedSample((question(3, 7),), (question(4, 2), question(5, 3)))
    assert torch.equal(fusion.run([sample], decoder)[0], inserted.run([sample], decoder)[0])


def one_block() -> Decoder:
    torch.manual_seed(1)
    decoder = Decoder(
        Qwen3Config(
            vocab_size=128,
            hidden_size=96,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
        )
    )
    use_exact_norms(decoder)
    return decoder.double()


@pytest.mark.parametrize("positions", ["one_per_frame", "one_per_token"])
def test_one_block_is_token_insertion_on_text(positions: Any) -> None:
    decoder = one_block()
    fusion = NoVisualSelfAttention(NoVisualSelfAttentionConfig(positions=positions), decoder)
    inserted = TokenInsertion(TokenInsertionConfig(positions=positions), decoder)
    sample = PackedSample(as_double(spans_from(5, PLAN)), (question(1, 3),))
    expected, layout = inserted.run([sample], decoder)
    text = torch.from_numpy(layout.rows.kind == Kind.TEXT)
    torch.testing.assert_close(fusion.run([sample], decoder)[0], expected[text], atol=1e-12, rtol=0)


def test_several_blocks_are_not_token_insertion(build: Build) -> None:
    decoder, fusion = build(NAME, image_updates="ffn")
    sample = PackedSample(as_double(spans_from(5, PLAN)))
    expected, layout = TokenInsertion(TokenInsertionConfig(), decoder).run([sample], decoder)
    text = torch.from_numpy(layout.rows.kind == Kind.TEXT)
    assert (fusion.run([sample], decoder)[0] - expected[text]).abs().max() > 1e-3


def rows_into(modules: Sequence[nn.Module], run: Callable[[], object]) -> list[int]:
    """How many rows each module computes."""
    counts = [0] * len(modules)

    def counter(n: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            counts[n] += len(inputs[0])

        return count

    handles = [module.register_forward_pre_hook(counter(n)) for n, module in enumerate(modules)]
    run()
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize(
    ("updates", "ffn_rows"), [("none", [8, 8, 8]), ("ffn", [8 + 14, 8, 8]), ("mlp", [8, 8, 8])]
)
def test_images_are_projected_once_and_only_where_they_are_seen(
    build: Build, updates: str, ffn_rows: list[int]
) -> None:
    """8 text tokens and 14 image tokens, span by span, with images in blocks 0 and 1."""
    decoder, fusion = build(NAME, layers=(0, 1), image_updates=updates)
    state = fusion.new_state()

    def stream() -> None:
        for span in as_double(spans_from(1, PLAN)):
            fusion.run([PackedSample((span,))], decoder, state)

    blocks = [decoder.block(i) for i in range(3)]
    parts = [b.attention.q_proj for b in blocks] + [b.attention.k_proj for b in blocks]
    parts += [b.mlp for b in blocks]
    assert rows_into(parts, stream) == [8, 8, 8, 22, 22, 8, *ffn_rows]
    assert [len(t) for t in state.extra[IMAGES].tensors()] == [14] * 4
    assert [len(t) for t in state.text.tensors()] == [8] * 6


def test_runs_without_storage(build: Build) -> None:
    decoder, fusion = copy.deepcopy(build(NAME, image_updates="mlp"))
    decoder.to("meta")
    fusion.to("meta")
    spans = [
        FrameSpan(s.tokens.to("meta"), s.time_s) if isinstance(s, FrameSpan) else s
        for s in spans_from(2, PLAN)
    ]
    h, layout = fusion.run([PackedSample(tuple(spans))], decoder, fusion.new_state())
    assert h.is_meta
    assert len(h) == len(layout.rows) == sum(len(s.ids) for s in spans if isinstance(s, TextSpan))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ()}, "layers= is not usable"),
        ({"layers": (1, 0)}, "layers=1/0.*rising order"),
        ({"layers": (1, 1)}, "each once"),
        ({"layers": (-1, 1)}, "from 0 on"),
        ({"layers": (0, 3)}, "layers=0/3.*give numbers from 0 to 2"),
    ],
)
def test_impossible_settings_are_refused(build: Build, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(NAME, **wrong)


def test_layers_are_settable_as_text() -> None:
    config = method_config(NAME, {"layers": "0/2"})
    assert isinstance(config, NoVisualSelfAttentionConfig)
    assert config.layers == (0, 2)
