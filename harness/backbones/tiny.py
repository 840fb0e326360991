"""The shipped small backbone: Qwen3's architecture at width 96, for models that train on a laptop's CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.backbones import BackboneSpec
from harness.registry import backbones

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig


def _config(intermediate_size: int, vocab_size: int) -> PretrainedConfig:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=96,
        intermediate_size=intermediate_size,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        use_cache=False,
    )


def shipped_tokenizer() -> Tokenizer:
    """The shipped tokenizer: the words of the shipped tasks."""
    from harness.models import SHIPPED
    from harness.tokenizer import load_tokenizer

    return load_tokenizer(SHIPPED / "tokenizer.json")


TINY = BackboneSpec(
    name="tiny-qwen3",
    summary="Qwen3 blocks, 4 layers, width 96, 3 heads; about 0.7 M parameters; trained on the shipped tasks",
    config=_config,
    tokenizer=shipped_tokenizer,
    intermediate_size=256,
    parameter_budget=712_000,
)
backbones.add(TINY.name, TINY, __name__)
