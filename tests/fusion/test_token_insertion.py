"""Token insertion against LLaVA and Qwen2.5-VL of ``transformers``: whole tiny models' logits with the same
weights."""

from __future__ import annotations

from typing import Literal, cast

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PretrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
)

from harness.backbones.decoder import Decoder, causal_lm
from harness.errors import UsageError
from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan

from ..parts.models import VOCABULARY, llama
from .conftest import use_exact_norms

WIDTH, IMAGE_TOKEN, TOKENS_PER_IMAGE, THETA = 32, 49, 9, 10000.0
SECTIONS = [2, 3, 3]
Positions = Literal["one_per_frame", "one_per_token", "mrope"]


@pytest.fixture(scope="module")
def llava() -> LlavaForConditionalGeneration:
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        tie_word_embeddings=False,
    )
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=24,
        patch_size=8,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    torch.manual_seed(0)
    model: LlavaForConditionalGeneration = LlavaForConditionalGeneration(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    use_exact_norms(model)
    return model


def expected(model: LlavaForConditionalGeneration, spans: list[Tensor | int], pixels: Tensor) -> Tensor:
    """LLaVA's own logits; a whole number stands for that image."""
    image = torch.full((TOKENS_PER_IMAGE,), IMAGE_TOKEN)
    ids = torch.cat([span if isinstance(span, Tensor) else image for span in spans])
    logits: Tensor = model(input_ids=ids[None], pixel_values=pixels).logits[0]
    return logits


@torch.no_grad()
@pytest.mark.parametrize("streaming", [False, True])
def test_logits_equal_llava(llava: LlavaForConditionalGeneration, streaming: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, 24, 24, generator=generator, dtype=torch.float64)
    texts = [torch.randint(1, IMAGE_TOKEN, (n,), generator=generator) for n in (4, 2, 5)]
    order: list[Tensor | int] = [texts[0], 0, texts[1], 1, 2, texts[2]]
    wanted = expected(llava, order, pixels)

    features = llava.model.get_image_features(pixel_values=pixels).pooler_output
    state = {f"model.{k}": v for k, v in llava.model.language_model.state_dict().items()}
    decoder = llama(
        {**state, "lm_head.weight": llava.lm_head.weight},
        width=WIDTH,
        inner=48,
        layers=3,
        heads=4,
        kv=2,
        theta=THETA,
    )
    spans: list[Span] = [
        TextSpan(part) if isinstance(part, Tensor) else FrameSpan(features[part], float(part))
        for part in order
    ]
    logits = inserted(decoder, "one_per_token", spans, streaming)
    torch.testing.assert_close(logits, wanted, atol=1e-9, rtol=0)


def inserted(decoder: Decoder, positions: Positions, spans: list[Span], streaming: bool) -> Tensor:
    """Logits of token insertion, in one pass or span by span."""
    fusion = TokenInsertion(TokenInsertionConfig(positions=positions), decoder).double()
    if not streaming:
        return decoder.logits(fusion.run([PackedSample(tuple(spans))], decoder)[0])
    kept = fusion.new_state()
    return decoder.logits(
        torch.cat([fusion.run([PackedSample((span,))], decoder, kept)[0] for span in spans])
    )


@pytest.fixture(scope="module")
def qwen() -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA, "mrope_section": SECTIONS},
        "tie_word_embeddings": False,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**vision, "out_hidden_size": WIDTH},
        image_token_id=IMAGE_TOKEN,
        video_token_id=48,
        vision_start_token_id=47,
        vision_end_token_id=46,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model: Qwen2_5_VLForConditionalGeneration = Qwen2_5_VLForConditionalGeneration(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    use_exact_norms(model)
    return model


def qwen_decoder(model: Qwen2_5_VLForConditionalGeneration) -> Decoder:
    text = cast("PretrainedConfig", model.config.text_config)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        rms_norm_eps=text.rms_norm_eps,
        rope_parameters=text.rope_parameters,
        tie_word_embeddings=False,
    )
    lm = causal_lm(config).double()
    state = {f"model.{k}": v for k, v in model.model.language_model.state_dict().items()}
    lm.load_state_dict({**state, "lm_head.weight": model.lm_head.weight})
    decoder = Decoder(config, lm)
    use_exact_norms(decoder)
    return decoder


@torch.no_grad()
@pytest.mark.parametrize("streaming", [False, True])
def test_logits_equal_qwen2_5_vl_at_its_positions(
    qwen: Qwen2_5_VLForConditionalGeneration, streaming: bool
) -> None:
    """Images of two shapes between texts. A grid counts patches; 2 x 2 of them are merged to a token."""
    generator = torch.Generator().manual_seed(2)
    grids = torch.tensor([[1, 4, 6], [1, 6, 2]])
    patches = torch.randn(int(grids.prod(dim=1).sum()), 3 * 2 * 14 * 14, generator=generator).double()
    features = qwen.model.get_image_features(pixel_values=patches, image_grid_thw=grids).pooler_output
    texts = [torch.randint(1, 45, (n,), generator=generator) for n in (3, 2, 4)]
    image = [torch.full((len(f),), IMAGE_TOKEN) for f in features]
    ids = torch.cat([texts[0], image[0], texts[1], image[1], texts[2]])
    wanted = qwen(
        input_ids=ids[None],
        pixel_values=patches,
        image_grid_thw=grids,
        mm_token_type_ids=(ids == IMAGE_TOKEN).int()[None],
    ).logits[0]

    decoder = qwen_decoder(qwen)
    frames = [
        FrameSpan(features[i], float(i), (int(h) // 2, int(w) // 2)) for i, (_, h, w) in enumerate(grids)
    ]
    spans: list[Span] = [TextSpan(texts[0]), frames[0], TextSpan(texts[1]), frames[1], TextSpan(texts[2])]
    torch.testing.assert_close(inserted(decoder, "mrope", spans, streaming), wanted, atol=1e-9, rtol=0)
    other = inserted(decoder, "one_per_frame", spans, streaming)
    assert (other - wanted).abs().max() > 1e-4


def test_positions_by_row_and_column_need_a_grid(qwen: Qwen2_5_VLForConditionalGeneration) -> None:
    frame = FrameSpan(torch.zeros(6, WIDTH, dtype=torch.float64), 0.0)
    with pytest.raises(UsageError, match="grid None"):
        inserted(qwen_decoder(qwen), "mrope", [frame], streaming=False)
