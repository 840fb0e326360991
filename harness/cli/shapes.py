"""A decoder of the right shapes that computes nothing, to count what methods add to it.

``transformers``' own models take longer to import than all else that ``harness list`` does, and so does what
torch imports to draw random numbers on its meta device; the default backbone is small enough to be real.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from harness import registry
from harness.backbones.decoder import Decoder
from harness.fusion import FusionMethod


def apply_rotary_pos_emb(*args: Tensor, **options: int) -> tuple[Tensor, Tensor]:
    """Looked up beside the attention's class; never called, as nothing is computed here."""
    raise NotImplementedError("this decoder is there to be counted")


class _Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        rows, kv_rows = (
            n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = nn.Linear(config.hidden_size, rows, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_rows, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_rows, bias=config.attention_bias)
        self.o_proj = nn.Linear(rows, config.hidden_size, bias=config.attention_bias)
        self.q_norm = nn.RMSNorm(config.head_dim)
        self.k_norm = nn.RMSNorm(config.head_dim)


class _Mlp(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)


class _Layer(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size)
        self.mlp = _Mlp(config)


class _Model(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size)
        self.rotary_emb = nn.Identity()


class _LanguageModel(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.model = _Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight


@cache
def shape_only(backbone: str) -> Decoder:
    """The decoder of a registered backbone of Qwen3's architecture."""
    spec = registry.backbones.get(backbone)
    config = spec.config(spec.intermediate_size, spec.tokenizer().get_vocab_size())
    with torch.random.fork_rng(devices=[]):
        return Decoder(config, _LanguageModel(config))


@cache
def parameters_added(method: type[FusionMethod], backbone: str) -> tuple[int, int]:
    """Parameters that a method has in its default settings beside the backbone's, and the backbone's own."""
    decoder = shape_only(backbone)
    with torch.random.fork_rng(devices=[]):
        fusion = method(method.Config(), decoder)
    own = set(decoder.parameters())
    return sum(p.numel() for p in fusion.parameters() if p not in own), sum(p.numel() for p in own)
