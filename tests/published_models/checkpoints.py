"""Tiny random checkpoints of every supported class, on disk as the published ones are laid out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    Idefics2Config,
    Idefics3Config,
    IdeficsConfig,
    LlavaOnevisionConfig,
    MistralConfig,
    MllamaConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)

from harness.published_models.families import family_class
from tests.backbones.checkpoints import bpe, perturbed

TEXTS = [
    "what digit is red",
    "which colour is it",
    "red green blue yellow",
    "user assistant Frame from 00:01:",
]
WIDTH = 32
TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
SIGLIP: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
FAKE_TOKENS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IMAGES_FIRST = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {% for c in m.content if c.type == 'image' %}<image>"
    "{% endfor %}{% for c in m.content if c.type == 'text' %}{{ '\\n' + c.text }}{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS = (
    "{% for m in messages %}{{ m.role | capitalize }}{% if m.content[0].type == 'image' %}:{% else %}: "
    "{% endif %}{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
LLAMA = (
    "<s>{% for m in messages %}<|start|>{{ m.role }}<|end|>\n\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|image|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a checkpoint: its tokens beside the text's, its template, config and image processor."""

    tokens: tuple[str, ...]
    template: str | None
    config: Callable[[Callable[[str], int], int], Any]
    processor: dict[str, Any]
    starts: bool = False
    """The tokenizer puts the start token before a text, so the template does not."""


def _qwen2_5(of: Callable[[str], int], size: int) -> Any:
    return Qwen2_5_VLConfig(
        text_config={**TEXT, "vocab_size": size, "rope_parameters": _mrope([1, 2, 1])},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=of("<|image_pad|>"),
        vision_start_token_id=of("<|vision_start|>"),
        vision_end_token_id=of("<|vision_end|>"),
    )


def _qwen3(of: Callable[[str], int], size: int) -> Any:
    rope = _mrope([2, 1, 1]) | {"mrope_interleaved": True}
    return Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": size, "head_dim": 8, "rope_parameters": rope},
        vision_config={
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=of("<|image_pad|>"),
        vision_start_token_id=of("<|vision_start|>"),
        vision_end_token_id=of("<|vision_end|>"),
    )


def _mrope(section: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section}


def _llava(of: Callable[[str], int], size: int) -> Any:
    return LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": size},
        vision_config={"model_type": "siglip_vision_model", **SIGLIP, "vision_use_head": False},
        image_token_index=of("<image>"),
        image_grid_pinpoints=[[32, 32], [32, 64], [64, 32]],
    )


def _smolvlm(of: Callable[[str], int], size: int) -> Any:
    return SmolVLMConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": size},
        vision_config=SIGLIP,
        image_token_id=of("<image>"),
        scale_factor=2,
    )


def _idefics3(of: Callable[[str], int], size: int) -> Any:
    return Idefics3Config(
        text_config={"model_type": "llama", **TEXT, "vocab_size": size},
        vision_config=SIGLIP,
        image_token_id=of("<image>"),
        scale_factor=2,
    )


def _idefics2(of: Callable[[str], int], size: int) -> Any:
    return Idefics2Config(
        text_config=MistralConfig(**TEXT, vocab_size=size, sliding_window=20).to_dict(),
        vision_config=SIGLIP,
        perceiver_config={
            "hidden_size": WIDTH,
            "resampler_n_latents": 3,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
            "num_key_value_heads": 1,
        },
        image_token_id=of("<image>"),
    )


def _mllama(of: Callable[[str], int], size: int) -> Any:
    # The image token is embedded and is never an answer: its id is the first behind the vocabulary.
    assert of("<|image|>") == size - 1
    return MllamaConfig(
        text_config={
            **TEXT,
            "vocab_size": size - 1,
            "num_hidden_layers": 4,
            "cross_attention_layers": [1, 3],
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "vision_output_dim": 16 * 3,
            "intermediate_layers_indices": [0, 2],
        },
        image_token_index=of("<|image|>"),
    )


def _idefics(of: Callable[[str], int], size: int) -> Any:
    settings = {name: TEXT[name] for name in TEXT if name != "num_key_value_heads"}
    return IdeficsConfig(
        **settings | {"num_hidden_layers": 4},
        vocab_size=size - 2,
        additional_vocab_size=2,
        alpha_initializer="ones",
        cross_layer_interval=2,
        qk_layer_norms=True,
        use_resampler=True,
        vision_config={
            "embed_dim": 16,
            "image_size": 28,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": 3,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
        },
    )


_QWEN = {"size": {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}}
RECIPES: dict[str, Recipe] = {
    "qwen2_5_vl": Recipe(tokens=QWEN_TOKENS, template=CHATML, config=_qwen2_5, processor=_QWEN),
    "qwen3_vl": Recipe(
        tokens=QWEN_TOKENS,
        template=CHATML,
        config=_qwen3,
        processor={**_QWEN, "patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    ),
    "llava_onevision": Recipe(
        tokens=("<|im_start|>", "<|im_end|>", "<image>"),
        template=IMAGES_FIRST,
        config=_llava,
        processor={"size": {"height": 32, "width": 32}, "image_grid_pinpoints": [[32, 32], [32, 64]]},
    ),
    "smolvlm": Recipe(
        tokens=FAKE_TOKENS,
        template=IDEFICS,
        config=_smolvlm,
        processor={"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}},
    ),
    "idefics3": Recipe(
        tokens=FAKE_TOKENS,
        template=IDEFICS,
        config=_idefics3,
        processor={"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}},
    ),
    "idefics2": Recipe(
        tokens=FAKE_TOKENS,
        template=IDEFICS,
        config=_idefics2,
        starts=True,
        processor={"size": {"shortest_edge": 24, "longest_edge": 32}},
    ),
    "mllama": Recipe(
        tokens=("<|start|>", "<|end|>", "<|eot|>", "<|image|>"),
        template=LLAMA,
        config=_mllama,
        processor={"size": {"height": 28, "width": 28}, "max_image_tiles": 4},
    ),
    "idefics": Recipe(
        tokens=("<end_of_utterance>", "<fake_token_around_image>", "<image>"),
        template=None,
        config=_idefics,
        processor={"image_size": 28},
    ),
}


def write_published(kind: str, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a tiny random checkpoint of a class: config, weights, tokenizer with template, processor."""
    recipe, family = RECIPES[kind], family_class(kind)
    tokenizer: Tokenizer = bpe(TEXTS)
    tokenizer.add_special_tokens(list(recipe.tokens))
    if recipe.starts:
        tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.get_vocab()["<s>"])]
        )
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=recipe.template,
    )
    config = recipe.config(tokenizer.get_vocab().__getitem__, tokenizer.get_vocab_size())
    torch.manual_seed(0)
    net = family.model_class()(config)
    perturbed(net)
    net.to(dtype).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    processor_class(kind)(**recipe.processor).save_pretrained(folder)


def processor_class(kind: str) -> Any:
    """The class's own image processor on PIL and NumPy."""
    model, _, name = family_class(kind).processor.partition(":")
    return getattr(importlib.import_module(f"transformers.models.{model}.image_processing_pil_{model}"), name)
