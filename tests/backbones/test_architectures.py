"""Every supported architecture with every registered method; what is not supported is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PretrainedConfig

from harness import registry
from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.models import method_config

from .checkpoints import ARCHITECTURES, SIZES, WIDTH, perturbed

registry.discover()
TOLERANCE = 1e-9


def lm_and_decoder(config: PretrainedConfig) -> tuple[Any, Decoder]:
    torch.manual_seed(0)
    lm: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    perturbed(lm)
    lm = lm.double().eval()
    return lm, Decoder(config, lm)


def text(*ids: int) -> TextSpan:
    return TextSpan(torch.tensor(ids))


def frame(seed: int, time_s: float) -> FrameSpan:
    tokens = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return FrameSpan(tokens, time_s)


SPANS: tuple[Span, ...] = (
    text(0, 5, 6),
    frame(1, 0.0),
    text(7, 8),
    frame(2, 1.0),
    frame(3, 2.0),
    text(9, 10),
)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("method", list(registry.methods))
@torch.no_grad()
def test_a_streamed_chunk_continues_the_prefill(name: str, method: str) -> None:
    _, decoder = lm_and_decoder(ARCHITECTURES[name])
    fusion = registry.methods.get(method)(method_config(method, {}), decoder)
    perturbed(fusion, seed=1)
    fusion = fusion.double().eval()
    whole = decoder.logits(fusion.run([PackedSample(SPANS)], decoder)[0])
    state = fusion.new_state()
    parts = [fusion.run([PackedSample(part)], decoder, state)[0] for part in (SPANS[:4], SPANS[4:])]
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(decoder.logits(torch.cat(parts)), whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_text_alone_gives_the_language_models_own_logits(name: str) -> None:
    lm, decoder = lm_and_decoder(ARCHITECTURES[name])
    fusion = registry.methods.get("token_insertion")(method_config("token_insertion", {}), decoder).double()
    ids = torch.randint(0, SIZES["vocab_size"], (20,), generator=torch.Generator().manual_seed(2))
    state = fusion.new_state()
    parts = [
        fusion.run([PackedSample((TextSpan(part),))], decoder, state)[0] for part in torch.split(ids, [13, 7])
    ]
    expected = lm(input_ids=ids[None], use_cache=False).logits[0]
    torch.testing.assert_close(decoder.logits(torch.cat(parts)), expected, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_a_layer_without_positions_does_not_rotate() -> None:
    _, decoder = lm_and_decoder(ARCHITECTURES["smollm3"])
    assert [decoder.block(i).attention.use_rope for i in range(4)] == [True, True, True, False]
    x_td = torch.randn(5, WIDTH, dtype=torch.float64)
    rope = decoder.rope(torch.arange(5), x_td)
    for i in range(4):
        attention = decoder.block(i).attention
        assert torch.equal(attention.keys(x_td, rope), attention.keys(x_td, None)) == (i == 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rotary_frequencies_keep_their_precision_in_a_cast(dtype: torch.dtype) -> None:
    decoder = Decoder(ARCHITECTURES["llama"])
    positions = torch.arange(0, 4000, 7)
    exact = decoder.rope(positions, torch.zeros(1, 1))
    cast = decoder.to(dtype).rope(positions, torch.zeros(1, 1, dtype=dtype))
    for before, after in zip(exact, cast, strict=True):
        torch.testing.assert_close(after, before.to(dtype), atol=0, rtol=0)


UNSUPPORTED: dict[str, tuple[dict[str, object], str]] = {
    "GPT2": ({"n_embd": 96, "n_head": 4, "n_layer": 1}, "GPT2LMHeadModel is not supported: it lacks model"),
    "Gemma2": (
        {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention"] * 4,
        },
        "has pre_feedforward_layernorm, post_feedforward_layernorm, which would be left out",
    ),
    "Qwen3Moe": ({"num_experts": 2}, r"block\.mlp lacks up_proj, down_proj"),
    "Phi3": ({}, r"block\.self_attn lacks q_proj, k_proj, v_proj"),
    "Olmo2": ({}, "block lacks input_layernorm"),
    "GptOss": ({"num_local_experts": 2, "layer_types": ["full_attention"] * 4}, "not supported"),
    "Qwen2_5_VL": ({}, "no causal language model"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_architecture_is_refused_by_what_it_lacks(name: str) -> None:
    changes, message = UNSUPPORTED[name]
    config = getattr(transformers, f"{name}Config")(**{**SIZES, "bos_token_id": 1, **changes})
    with pytest.raises(UsageError, match=message):
        Decoder(config)


def test_the_first_dense_blocks_do_not_hide_a_mixture_of_experts() -> None:
    config = transformers.Qwen3MoeConfig(**SIZES, num_experts=2, mlp_only_layers=[0, 1, 2])
    with pytest.raises(UsageError, match=r"block\.mlp lacks"):
        Decoder(config)


@pytest.mark.parametrize(
    ("name", "field", "value", "fix"),
    [
        ("Mistral", "sliding_window", 16, "set it to null"),
        ("Llama", "attention_dropout", 0.1, r"set it to 0\.0"),
        ("Llama", "attn_logit_softcapping", 50.0, "without soft-capping"),
        ("Llama", "final_logit_softcapping", 30.0, "without soft-capping"),
        ("Llama", "is_causal", False, "use a causal language model"),
        ("Olmo", "clip_qkv", 8.0, "does not clip"),
        ("Llama", "quantization_config", {"bits": 4}, "in bfloat16, float16 or float32"),
        ("Llama", "rope_parameters", {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}, "rope_type"),
        ("StableLm", "partial_rotary_factor", 0.25, "part of each head"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(name: str, field: str, value: object, fix: str) -> None:
    config = getattr(transformers, f"{name}Config")(**{**SIZES, field: value})
    with pytest.raises(UsageError, match=fix) as caught:
        Decoder(config)
    assert field == "rope_parameters" or f"{field}=" in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        transformers.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=16, max_window_layers=2),
        transformers.Qwen3Config(
            **SIZES, use_sliding_window=True, sliding_window=16, layer_types=["sliding_attention"] * 4
        ),
    ],
    ids=["qwen2", "qwen3"],
)
def test_active_windows_of_some_layers_are_refused(config: PretrainedConfig) -> None:
    with pytest.raises(UsageError, match="sliding_window=16"):
        Decoder(config)


def test_what_is_computed_beside_the_sub_modules_is_noticed() -> None:
    config = transformers.GraniteConfig(**SIZES)
    Decoder(config)
    config = transformers.GraniteConfig(**SIZES, residual_multiplier=0.5)
    with pytest.raises(UsageError, match="something besides them"):
        Decoder(config)


def test_a_decoder_without_storage_is_made_on_the_meta_device() -> None:
    with torch.device("meta"):
        decoder = Decoder(ARCHITECTURES["smollm3"])
    assert {parameter.device.type for parameter in decoder.parameters()} == {"meta"}
