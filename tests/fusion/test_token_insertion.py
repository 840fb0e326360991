"""Token insertion against LLaVA of ``transformers``: a whole tiny model's logits with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan

from ..parts.models import VOCABULARY, llama
from .conftest import use_exact_norms

WIDTH, IMAGE_TOKEN, TOKENS_PER_IMAGE, THETA = 32, 49, 9, 10000.0


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
    model = LlavaForConditionalGeneration(config).double().eval()
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
    fusion = TokenInsertion(TokenInsertionConfig(positions="one_per_token"), decoder).double()
    spans: list[Span] = [
        TextSpan(part) if isinstance(part, Tensor) else FrameSpan(features[part], float(part))
        for part in order
    ]
    if streaming:
        kept = fusion.new_state()
        parts = [fusion.run([PackedSample((span,))], decoder, kept)[0] for span in spans]
        h_rd = torch.cat(parts)
    else:
        h_rd = fusion.run([PackedSample(tuple(spans))], decoder)[0]
    torch.testing.assert_close(decoder.logits(h_rd), wanted, atol=1e-9, rtol=0)
