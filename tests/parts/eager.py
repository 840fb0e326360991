"""The parts' equations on dense masks, and the loading of ``transformers``' weights into the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu, silu
from transformers import PretrainedConfig

from harness.attention import Index
from harness.parts.attention import FeedForward, OwnAttention
from harness.parts.perceiver import Perceiver, PerceiverLayer

C = TypeVar("C", bound=PretrainedConfig)
Renames = Sequence[tuple[str, str]]
ATTENTION: Renames = ((r"cross_attn\.", "attention."), (r"([qk])_layer_norm\.", r"\1_norm."))
GATED_MLP: Renames = ((r"mlp\.(gate|up|down)_proj", r"ffn.\1"),)
BLOCK_NORMS: Renames = ((r"input_layernorm", "norm"), (r"post_attention_layernorm", "ffn_norm"))
IDEFICS_PERCEIVER: Renames = (
    (r"blocks\.(\d+)\.0\.context_layer_norm", r"layers.\1.token_norm"),
    (r"blocks\.(\d+)\.0\.latents_layer_norm", r"layers.\1.latent_norm"),
    (r"blocks\.(\d+)\.0\.output_proj", r"layers.\1.attention.o_proj"),
    (r"blocks\.(\d+)\.0\.([qk])_layer_norm", r"layers.\1.attention.\2_norm"),
    (r"blocks\.(\d+)\.0\.", r"layers.\1.attention."),
    (r"blocks\.(\d+)\.1\.ln", r"layers.\1.ffn_norm"),
    (r"blocks\.(\d+)\.1\.fc", r"layers.\1.ffn.up"),
    (r"blocks\.(\d+)\.1\.c_proj", r"layers.\1.ffn.down"),
    (r"^layer_norm", "norm"),
)
IDEFICS_GATED: Renames = (
    *ATTENTION,
    *GATED_MLP,
    *BLOCK_NORMS,
    (r"alpha_cross_attn", "gate"),
    (r"alpha_dense", "ffn_gate"),
)
MLLAMA_GATED: Renames = (
    (r"cross_attn_attn_gate", "gate"),
    (r"cross_attn_mlp_gate", "ffn_gate"),
    *ATTENTION,
    *GATED_MLP,
    *BLOCK_NORMS,
)


def renamed(state: Mapping[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """A state dictionary under other names, each pattern replaced in order."""
    out = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        out[name] = value
    return out


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


@torch.no_grad()
def disturb(module: nn.Module, seed: int = 0) -> None:
    """Add noise to every parameter, so that zero gates, unit norms and zero biases show."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.add_(0.2 * noise.to(parameter))


def frames_of(y_md: Tensor, lengths: Index) -> tuple[Tensor, ...]:
    """The tokens of each frame."""
    return torch.tensor_split(y_md, np.cumsum(lengths)[:-1].tolist())


def with_sdpa(config: C) -> C:
    """The config with an attention that keeps float64; the eager one has a softmax in float32."""
    config._attn_implementation = "sdpa"
    return config


def attention(module: OwnAttention, x_td: Tensor, y_sd: Tensor, mask_ts: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over a dense mask; a row that sees nothing gets 0 before o."""
    width = module.head_dim
    q, k, v = (
        projection(z).unflatten(1, (-1, width))
        for projection, z in ((module.q_proj, x_td), (module.k_proj, y_sd), (module.v_proj, y_sd))
    )
    q, k = module.q_norm(q), module.k_norm(k)
    groups = q.shape[1] // k.shape[1]
    outputs = []
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // groups].T * width**-0.5
        weights = torch.softmax(scores.masked_fill(~mask_ts, -torch.inf), dim=1).nan_to_num()
        outputs.append(weights @ v[:, head // groups])
    return module.o_proj(torch.cat(outputs, dim=1))  # type: ignore[no-any-return]


def ffn(module: FeedForward, x_td: Tensor, activation: str) -> Tensor:
    up = module.up(x_td)
    if activation == "swiglu":
        assert module.gate is not None
        return module.down(silu(module.gate(x_td)) * up)  # type: ignore[no-any-return]
    return module.down(relu(up) ** {"relu": 1, "squared_relu": 2}[activation])  # type: ignore[no-any-return]


def latents_of(perceiver: Perceiver, y_nd: Tensor, activation: str) -> Tensor:
    """One frame's latents [L, d] from its tokens [N, d]."""
    x: Tensor = perceiver.latents
    everything = torch.ones(len(x), len(y_nd) + len(x), dtype=torch.bool)
    for layer in perceiver.layers:
        assert isinstance(layer, PerceiverLayer)
        z = layer.latent_norm(x)
        x = x + attention(layer.attention, z, torch.cat((layer.token_norm(y_nd), z)), everything)
        x = x + ffn(layer.ffn, layer.ffn_norm(x), activation)
    return perceiver.norm(x)  # type: ignore[no-any-return]
