"""A ``transformers`` decoder as sub-modules: embedding, blocks, norm, head. Nothing here knows of images.

Shapes: T rows, d model width, H heads, K key/value heads, D head width, V vocabulary.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from harness.errors import UsageError

Rope = tuple[Tensor, Tensor]
"""Cosines and sines of the rows' positions, [1, T, D] each."""

_NEEDED = {
    "block": ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"),
    "block.self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
}


class Projections(nn.Module):
    """The projections of one attention: q, k, v, o and the q/k norms where the backbone has them."""

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        for name in _NEEDED["block.self_attn"]:
            setattr(self, name, getattr(attention, name))
        self.q_norm: nn.Module = getattr(attention, "q_norm", None) or nn.Identity()
        self.k_norm: nn.Module = getattr(attention, "k_norm", None) or nn.Identity()
        self.head_dim = int(cast("int", attention.head_dim))
        self.scale = float(cast("float", getattr(attention, "scaling", self.head_dim**-0.5)))
        self.rotate: Callable[..., tuple[Tensor, Tensor]] = _rotary_function(attention)

    def copy(self) -> Projections:
        """Own parameters with the same values."""
        return copy.deepcopy(self)

    def queries(self, x_td: Tensor, rope: Rope | None) -> Tensor:
        """[T, d] → [T, H, D]; rotated when ``rope`` is given."""
        return self.rotated(self.q_norm(self._heads(self.q_proj, x_td)), rope)

    def keys(self, x_td: Tensor, rope: Rope | None) -> Tensor:
        """[T, d] → [T, K, D]; rotated when ``rope`` is given."""
        return self.rotated(self.k_norm(self._heads(self.k_proj, x_td)), rope)

    def values(self, x_td: Tensor) -> Tensor:
        """[T, d] → [T, K, D]."""
        return self._heads(self.v_proj, x_td)

    def output(self, o_thd: Tensor) -> Tensor:
        """[T, H, D] → [T, d]."""
        return cast("Tensor", self.o_proj(o_thd.flatten(1)))

    def _heads(self, projection: nn.Module, x_td: Tensor) -> Tensor:
        x = cast("Tensor", projection(x_td))
        return x.view(len(x), x.shape[1] // self.head_dim, self.head_dim)

    def rotated(self, x_thd: Tensor, rope: Rope | None) -> Tensor:
        """[T, H, D] at the positions of ``rope``; unchanged without."""
        if rope is None:
            return x_thd
        return self.rotate(x_thd[None], x_thd[None, :, :1], *rope, unsqueeze_dim=2)[0][0]


class DecoderBlock(nn.Module):
    """One decoder block: norm, self-attention's projections, norm, FFN."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.norm = cast("nn.Module", layer.input_layernorm)
        self.attention = Projections(cast("nn.Module", layer.self_attn))
        self.ffn_norm = cast("nn.Module", layer.post_attention_layernorm)
        self.mlp = cast("nn.Module", layer.mlp)

    def ffn(self, h_td: Tensor) -> Tensor:
        """The FFN sub-layer with its residual."""
        return h_td + cast("Tensor", self.mlp(self.ffn_norm(h_td)))

    def normed(self, h_td: Tensor) -> Tensor:
        """The norm before attention."""
        return cast("Tensor", self.norm(h_td))


class Decoder(nn.Module):
    """Embedding, blocks, final norm and head of a Llama-like causal language model."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        lm = cast("nn.Module", _causal_lm(config))
        model = cast("nn.Module", lm.model)
        layers = cast("nn.ModuleList", model.layers)
        check_architecture(type(lm).__name__, layers[0])
        self.config = config
        self.embed = cast("nn.Embedding", model.embed_tokens)
        self.blocks = nn.ModuleList(DecoderBlock(layer) for layer in layers)
        self.norm = cast("nn.Module", model.norm)
        self.head = cast("nn.Linear", lm.lm_head)
        self.rotary = cast("nn.Module", model.rotary_emb)

    @property
    def width(self) -> int:
        return self.embed.embedding_dim

    def block(self, layer: int) -> DecoderBlock:
        return cast("DecoderBlock", self.blocks[layer])

    def rope(self, positions_t: Tensor, like: Tensor) -> Rope:
        """Cosines and sines for positions [T], in the dtype of ``like``."""
        return cast("Rope", self.rotary(like[None], positions_t[None]))

    def logits(self, h_td: Tensor) -> Tensor:
        """[T, d] → [T, V]."""
        return cast("Tensor", self.head(self.norm(h_td)))


def _causal_lm(config: PretrainedConfig) -> Any:
    return AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # not annotated there


def check_architecture(name: str, layer: nn.Module) -> None:
    """Raise a UsageError that names the sub-module a decoder lacks."""
    for place, needed in _NEEDED.items():
        module = layer if place == "block" else cast("nn.Module", layer.self_attn)
        missing = [part for part in needed if not hasattr(module, part)]
        if missing:
            raise UsageError(
                f"backbone {name} is not supported: its {place} lacks {', '.join(missing)}; "
                "use a decoder with Llama's sub-modules (Llama, Mistral, Qwen2, Qwen3, Helium, SmolLM2 …)"
            )


def _rotary_function(attention: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The architecture's own rotary function: some rotate halves, some rotate interleaved pairs."""
    function = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    if function is None:
        raise UsageError(
            f"backbone attention {type(attention).__name__} has no rotary position function; "
            "use a decoder with rotary positions"
        )
    return cast("Callable[..., tuple[Tensor, Tensor]]", function)
