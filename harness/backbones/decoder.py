"""A ``transformers`` decoder as sub-modules: embedding, blocks, norm, head. Nothing here knows of images.

Shapes: T rows, d model width, H heads, K key/value heads, D head width, V vocabulary.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from harness.backbones.checks import SUPPORTED, check_architecture, check_config, check_forward
from harness.backbones.precision import buffers_in_full_precision
from harness.errors import UsageError

Rope = tuple[Tensor, Tensor]
"""Cosines and sines of the rows' positions, [T, D] each."""

_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj")


class Projections(nn.Module):
    """The projections of one attention: q, k, v, o and the q/k norms where the backbone has them."""

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        for name in _PARTS:
            setattr(self, name, getattr(attention, name))
        self.q_norm: nn.Module = getattr(attention, "q_norm", None) or nn.Identity()
        self.k_norm: nn.Module = getattr(attention, "k_norm", None) or nn.Identity()
        self.head_dim = int(cast("int", attention.head_dim))
        self.scale = float(cast("float", getattr(attention, "scaling", self.head_dim**-0.5)))
        self.use_rope = bool(getattr(attention, "use_rope", True))
        self.rotate: Callable[..., tuple[Tensor, Tensor]] = _rotary_function(attention)

    def copy(self) -> Projections:
        """Own parameters with the same values."""
        return copy.deepcopy(self)

    def queries(self, x_td: Tensor, rope: Rope | None) -> Tensor:
        """[T, d] → [T, H, D]; rotated when ``rope`` is given, unless the layer is one without positions."""
        return self.rotated(self.q_norm(self._heads(self.q_proj, x_td)), rope)

    def keys(self, x_td: Tensor, rope: Rope | None) -> Tensor:
        """[T, d] → [T, K, D]; rotated when ``rope`` is given, unless the layer is one without positions."""
        return self.rotated(self.k_norm(self._heads(self.k_proj, x_td)), rope)

    def values(self, x_td: Tensor) -> Tensor:
        """[T, d] → [T, K, D]."""
        return self._heads(self.v_proj, x_td)

    def queries_keys_values(self, x_td: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        """[T, d] → [T, H, D], [T, K, D], [T, K, D]: the three of one self-attention, rotated together."""
        q, k = self.queries(x_td, None), self.keys(x_td, None)
        if self.use_rope:
            q, k = self.rotate(q, k, *rope, unsqueeze_dim=1)
        return q, k, self.values(x_td)

    def output(self, o_thd: Tensor) -> Tensor:
        """[T, H, D] → [T, d]."""
        return cast("Tensor", self.o_proj(o_thd.flatten(1)))

    def _heads(self, projection: nn.Module, x_td: Tensor) -> Tensor:
        x = cast("Tensor", projection(x_td))
        rows, width = x.shape
        return x.view(rows, width // self.head_dim, self.head_dim)

    def rotated(self, x_thd: Tensor, rope: Rope | None) -> Tensor:
        """[T, H, D] at the positions of ``rope``; unchanged without."""
        if rope is None or not self.use_rope:
            return x_thd
        return self.rotate(x_thd, x_thd[:, :1], *rope, unsqueeze_dim=1)[0]


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

    def __init__(self, config: PretrainedConfig, lm: nn.Module | None = None) -> None:
        """Random weights, or the modules of ``lm``, a causal language model of that config.

        Raises UsageError for an architecture that the blocks here do not compute. A model made here is
        compared with ``transformers``' own forward pass (not on the meta device, which has no values).
        """
        super().__init__()
        given = lm is not None
        lm = causal_lm(config) if lm is None else lm
        model = cast("nn.Module", lm.model)
        layers = cast("nn.ModuleList", model.layers)
        self.config = config
        self.embed = cast("nn.Embedding", model.embed_tokens)
        self.blocks = nn.ModuleList(DecoderBlock(layer) for layer in layers)
        self.norm = cast("nn.Module", model.norm)
        self.head = cast("nn.Linear", lm.lm_head)
        self.rotary = cast("nn.Module", model.rotary_emb)
        if not given and not self.embed.weight.is_meta:
            check_forward(lm, self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        with buffers_in_full_precision(self.rotary):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # not annotated there
        return self

    @property
    def width(self) -> int:
        return self.embed.embedding_dim

    def block(self, layer: int) -> DecoderBlock:
        return cast("DecoderBlock", self.blocks[layer])

    def rope(self, positions_t: Tensor, like: Tensor) -> Rope:
        """Cosines and sines for positions [T], in the dtype of ``like``."""
        cos, sin = cast("Rope", self.rotary(like, positions_t[None]))
        return cos[0], sin[0]

    def mrope(self, positions_3t: Tensor, like: Tensor) -> Rope:
        """Cosines and sines for temporal, height and width positions [3, T] (M-RoPE, arXiv 2409.12191).

        Which frequencies follow which position is the config's ``mrope_section``, by default a quarter and
        twice three eighths of them, as in Qwen2.5-VL. Text, whose three positions are equal, gets plain RoPE.
        """
        parameters = cast("dict[str, list[int]]", getattr(self.config, "rope_parameters", None) or {})
        cos, sin = cast("Rope", self.rotary(like, positions_3t))
        half = cos.shape[-1] // 2
        height = (half - half // 4) // 2
        sections = parameters.get("mrope_section", [half // 4, height, half - half // 4 - height])

        def spliced(of_axes: Tensor) -> Tensor:
            parts = torch.split(of_axes, sections * 2, dim=-1)
            return torch.cat([part[i % 3] for i, part in enumerate(parts)], dim=-1)

        return spliced(cos), spliced(sin)

    def logits(self, h_td: Tensor) -> Tensor:
        """[T, d] → [T, V]."""
        return cast("Tensor", self.head(self.norm(h_td)))


def empty_lm(config: PretrainedConfig) -> nn.Module:
    """The language model of a config without values: nothing is drawn for what is to be loaded."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        lm = causal_lm(config)
    lm.tie_weights()  # type: ignore[operator]  # a method, which torch's annotations do not know
    return lm


def causal_lm(config: PretrainedConfig) -> nn.Module:
    """The language model of a config, with random weights; raises UsageError if it is not supported."""
    check_config(config)
    try:
        # In the default precision, whatever the checkpoint was saved in, which the config goes on to say.
        lm: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # not annotated there
            copy.deepcopy(config), dtype=torch.get_default_dtype()
        )
    except ValueError as error:
        reason = str(error).partition("\n")[0][:200]
        raise UsageError(
            f"backbone {type(config).__name__} is no causal language model ({reason}); "
            "give a decoder's checkpoint"
        ) from error
    name = type(lm).__name__
    if not hasattr(lm, "model") or not hasattr(lm, "lm_head"):
        missing = [part for part in ("model", "lm_head") if not hasattr(lm, part)]
        raise UsageError(f"backbone {name} is not supported: it lacks {', '.join(missing)}; {SUPPORTED}")
    check_architecture(name, lm.model)
    return cast("nn.Module", lm)


def _rotary_function(attention: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The architecture's own rotary function: some rotate halves, some rotate interleaved pairs."""
    function = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    if function is None:
        raise UsageError(
            f"backbone attention {type(attention).__name__} has no rotary position function; "
            "use a decoder with rotary positions"
        )
    return cast("Callable[..., tuple[Tensor, Tensor]]", function)
