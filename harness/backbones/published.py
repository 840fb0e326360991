"""Published sizes by config: decoders with the vision tower that their models have, and no weights.

For counting memory; models of them start from random weights. Their tokenizer is the shipped one, whose ids
are the first of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.backbones import BackboneSpec
from harness.backbones.tiny import shipped_tokenizer
from harness.encoders import EncoderSpec
from harness.registry import backbones

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Config = Callable[[int, int], "PretrainedConfig"]


def _helium1_2b(intermediate_size: int, vocab_size: int) -> PretrainedConfig:
    """CASA's decoder (arXiv 2512.19535): 28 layers of width 2048, 16 heads and 8 key/value heads of 128.

    An FFN width of 8192 and 64,000 tokens with a head of its own make it the 2.0 B that its name says; both
    are not in the paper.
    """
    from transformers import HeliumConfig

    return HeliumConfig(
        vocab_size=64_000,
        hidden_size=2048,
        intermediate_size=intermediate_size,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=2**20,
        tie_word_embeddings=False,
        use_cache=False,
    )


def _qwen2_5(width: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tied: bool) -> Config:
    """The decoder of a size of Qwen2.5-VL."""

    def config(intermediate_size: int, vocab_size: int) -> PretrainedConfig:
        from transformers import Qwen2Config

        return Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=intermediate_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=128_000,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=tied,
            use_cache=False,
        )

    return config


PUBLISHED = (
    BackboneSpec(
        name="helium1-2b",
        summary="Helium1-2B with Qwen2.5-VL's vision tower, as in CASA; by config, no weights",
        config=_helium1_2b,
        tokenizer=shipped_tokenizer,
        intermediate_size=8192,
        parameter_budget=None,
        encoder=EncoderSpec(type="qwen2.5-vl"),
    ),
    BackboneSpec(
        name="qwen2.5-vl-3b",
        summary="the decoder and vision tower of Qwen2.5-VL-3B (arXiv 2502.13923); by config, no weights",
        config=_qwen2_5(2048, 36, 16, 2, vocabulary=151_936, tied=True),
        tokenizer=shipped_tokenizer,
        intermediate_size=11_008,
        parameter_budget=None,
        encoder=EncoderSpec(type="qwen2.5-vl"),
    ),
    BackboneSpec(
        name="qwen2.5-vl-7b",
        summary="the decoder and vision tower of Qwen2.5-VL-7B (arXiv 2502.13923); by config, no weights",
        config=_qwen2_5(3584, 28, 28, 4, vocabulary=152_064, tied=False),
        tokenizer=shipped_tokenizer,
        intermediate_size=18_944,
        parameter_budget=None,
        encoder=EncoderSpec(type="qwen2.5-vl", config={"out_hidden_size": 3584}),
    ),
)
for _spec in PUBLISHED:
    backbones.add(_spec.name, _spec, __name__)
