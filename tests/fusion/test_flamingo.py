"""Flamingo against its equations on dense masks, and against a whole Idefics model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from torch import Tensor
from transformers import IdeficsConfig, IdeficsForVisionText2Text

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion_impls.flamingo import Flamingo, FlamingoConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.parts.gates import GatedBlock

from ..parts.eager import (
    IDEFICS_GATED,
    IDEFICS_PERCEIVER,
    attention,
    disturb,
    ffn,
    latents_of,
    renamed,
    under,
    with_sdpa,
)
from ..parts.models import VOCABULARY, Shown, llama, shown, stream
from .conftest import Pair, use_exact_norms
from .streams import in_double, plans, seeds, spans_from
from .test_casa import some

Build = Callable[..., Pair]
WIDTH, LATENTS = 24, 3
STREAM = [("text", 3), ("frame", 4), ("text", 2), ("frame", 3), ("frame", 2), ("frame", 5), ("text", 3)]
ONE_IMAGE = [("frame", 6), ("text", 4)]


def dense_flamingo(decoder: Decoder, fusion: Flamingo, seen: Shown) -> Tensor:
    """The last block's output from the equations; self-attention is the plain backbone's."""
    latents = [latents_of(fusion.resampler, frame, fusion.c.resampler_activation) for frame in seen.frames]
    y = torch.cat([decoder.embed.weight[:0], *latents])
    mask = seen.sees.repeat_interleave(fusion.c.latents, dim=1)
    h: Tensor = decoder.embed(seen.ids)
    causal = torch.ones(len(h), len(h), dtype=torch.bool).tril()
    rope = decoder.rope(torch.arange(len(h)), h)
    for i in range(fusion.layers):
        if i % fusion.c.every == 0:
            gated = fusion.gated[i // fusion.c.every]
            assert isinstance(gated, GatedBlock)
            h = h + gated.gate.tanh() * attention(gated.attention, gated.norm(h), y, mask)
            h = h + gated.ffn_gate.tanh() * ffn(gated.ffn, gated.ffn_norm(h), fusion.c.activation)
        block = decoder.block(i)
        own, x = block.attention, block.normed(h)
        q, k, v = own.queries(x, rope), own.keys(x, rope), own.values(x)
        groups = q.shape[1] // k.shape[1]
        scores = torch.einsum("thd,shd->hts", q, k.repeat_interleave(groups, 1)) * own.scale
        weights = torch.softmax(scores.masked_fill(~causal, -torch.inf), dim=-1)
        h = block.ffn(h + own.output(torch.einsum("hts,shd->thd", weights, v.repeat_interleave(groups, 1))))
    return h


@some
@given(seed=seeds, plan=plans)
@pytest.mark.parametrize(
    "setting",
    [{}, {"every": 1, "depth": 2, "activation": "swiglu", "qk_norms": True}],
    ids=["default", "other"],
)
def test_it_equals_its_equations(
    build: Build, setting: dict[str, object], seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, fusion = build("flamingo", **setting)
    assert isinstance(fusion, Flamingo)
    sample = in_double(spans_from(seed, plan))
    fast, _ = fusion.run([sample], decoder)
    dense = dense_flamingo(decoder, fusion, shown(sample.prefix, times=True))
    torch.testing.assert_close(fast, dense, atol=1e-9, rtol=0)


def idefics(qk_norms: bool) -> IdeficsForVisionText2Text:
    config = IdeficsConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        rms_norm_eps=1e-5,
        cross_layer_interval=2,
        qk_layer_norms=qk_norms,
        use_resampler=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        vision_config={
            "embed_dim": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "patch_size": 112,
        },
        perceiver_config={
            "resampler_n_latents": LATENTS,
            "resampler_depth": 2,
            "resampler_n_heads": 3,
            "resampler_head_dim": 6,
            "qk_layer_norms_perceiver": qk_norms,
        },
    )
    torch.manual_seed(0)
    model: IdeficsForVisionText2Text = IdeficsForVisionText2Text(with_sdpa(config)).train(False)
    use_exact_norms(model)
    disturb(model.double())
    return model


def as_flamingo(model: IdeficsForVisionText2Text, qk_norms: bool) -> tuple[Decoder, Flamingo]:
    """Our decoder and method with Idefics' weights."""
    state = model.state_dict()
    ours = ("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head.")
    text = {key: value for key, value in state.items() if key.startswith(ours)}
    decoder = llama(text, width=WIDTH, inner=4 * WIDTH, layers=4, heads=4, kv=4, theta=1e4)
    config = FlamingoConfig(
        latents=LATENTS,
        depth=2,
        ffn_factor=4,
        resampler_heads=3,
        activation="swiglu",
        resampler_activation="relu",
        qk_norms=qk_norms,
    )
    fusion = Flamingo(config, decoder).double()
    resampler = renamed(under(state, "model.perceiver_resampler."), IDEFICS_PERCEIVER)
    fusion.resampler.load_state_dict(resampler)
    gated = renamed(under(state, "model.gated_cross_attn_layers."), IDEFICS_GATED)
    gated = {key: value.reshape(1) if key.endswith("gate") else value for key, value in gated.items()}
    fusion.gated.load_state_dict(gated)
    return decoder, fusion


@pytest.mark.parametrize("plan", [ONE_IMAGE, STREAM], ids=["one image", "stream"])
@pytest.mark.parametrize("qk_norms", [False, True])
def test_its_logits_equal_idefics(qk_norms: bool, plan: list[tuple[str, int]]) -> None:
    """Idefics in one pass; text stands before the first image, and images come in several sizes."""
    model = idefics(qk_norms)
    decoder, fusion = as_flamingo(model, qk_norms)
    sample = stream(5, plan, WIDTH)
    seen = shown(sample.prefix, times=True)
    with torch.no_grad():
        latents = [model.model.perceiver_resampler(frame[None]) for frame in seen.frames]
        theirs = model(
            input_ids=seen.ids[None],
            perceiver_embeddings=torch.stack(latents, dim=1),
            image_attention_mask=seen.sees[None].long(),
            use_cache=False,
        ).logits[0]
        ours = decoder.logits(fusion.run([sample], decoder)[0])
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


def test_a_new_model_is_the_language_model(build: Build) -> None:
    """With gates at zero images change nothing, and nothing changes the text."""
    decoder, _ = build("token_insertion")
    fusion = Flamingo(FlamingoConfig(), decoder).double()
    _, insertion = build("token_insertion")
    spans = spans_from(1, [("text", 2), ("frame", 4), ("text", 3)])
    text = tuple(span for span in spans if isinstance(span, TextSpan))
    alone = insertion.run([PackedSample(text)], decoder)[0]
    torch.testing.assert_close(fusion.run([in_double(spans)], decoder)[0], alone, atol=1e-12, rtol=0)


def kept_bytes(decoder: Decoder, fusion: Flamingo, spans: tuple[Span, ...]) -> dict[str, int]:
    state = fusion.new_state()
    for span in in_double(spans).prefix:
        fusion.run([PackedSample((span,))], decoder, state)
    return state.bytes_by_kind()


def test_a_session_keeps_the_latents_of_one_window(build: Build) -> None:
    decoder, fusion = build("flamingo")
    assert isinstance(fusion, Flamingo)
    row = 2 * len(fusion.slots) * 4 * 24 * 8  # keys and values, gated blocks, heads, head width, float64
    small, large = (FrameSpan(torch.randn(n, 96), 0.0) for n in (1, 30))
    for frames in ((small,), (large,), (FrameSpan(large.tokens, -1.0), small, FrameSpan(large.tokens, 1.0))):
        assert kept_bytes(decoder, fusion, frames)["image_kv"] == fusion.c.latents * row
    assert kept_bytes(decoder, fusion, (small, large))["image_kv"] == 2 * fusion.c.latents * row


def test_frames_that_nothing_can_see_are_not_resampled(build: Build) -> None:
    decoder, fusion = build("flamingo")
    assert isinstance(fusion, Flamingo)
    sample = in_double(spans_from(1, [("frame", 3), ("frame", 5), ("frame", 1), ("text", 2)]))
    _, layout = fusion.run([sample], decoder)
    assert layout.images.frame.tolist() == [2] * fusion.c.latents


@pytest.mark.parametrize("setting", [{"latents": 0}, {"depth": 0}, {"every": 0}, {"resampler_heads": 0}])
def test_settings_that_make_no_sense_are_refused(build: Build, setting: dict[str, int]) -> None:
    (name, value), *_ = setting.items()
    with pytest.raises(UsageError, match=f"{name}={value}"):
        build("flamingo", **setting)
