"""Tiny random decoders, tokenizers and checkpoint folders, as the published ones are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    HeliumConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

VOCABULARY, WIDTH = 320, 96
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ARCHITECTURES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SIZES, head_dim=24),
    "llama3-rope": LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROPE, attention_bias=True, mlp_bias=True),
    "smollm2": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "smollm3": SmolLM3Config(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "qwen2": Qwen2Config(**SIZES),
    "qwen2.5-with-unused-window": Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=16, max_window_layers=4
    ),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
    "helium": HeliumConfig(**SIZES, head_dim=24),
}


def perturbed(model: torch.nn.Module, seed: int = 0) -> None:
    """Move every parameter away from its initial value, the norms' ones and the biases' zeros too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def bpe(texts: list[str]) -> Tokenizer:
    """Byte-level BPE, as Llama 3, Qwen and SmolLM have it, with ``<s>`` 0 and ``</s>`` 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_checkpoint(
    folder: Path, config: PretrainedConfig, *, shard: str = "5GB", dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    """Write a random decoder of a config as ``transformers`` writes it, with a tokenizer; return it."""
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    perturbed(model)
    model = model.to(dtype)
    model.save_pretrained(folder, max_shard_size=shard)
    bpe(["what digit is red", "what colour is it", "red green blue yellow"]).save(
        str(folder / "tokenizer.json")
    )
    return model.eval()  # type: ignore[no-any-return]


def change(path: Path, **values: object) -> None:
    """Change fields of a JSON file; None removes one."""
    document = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
