"""Whether a ``transformers`` decoder is what the blocks here compute; everything else is refused, never
ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from harness.attention import attend_reference
from harness.errors import UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from harness.backbones.decoder import Decoder

_NEEDED = {
    "model": ("embed_tokens", "layers", "norm", "rotary_emb"),
    "block": ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"),
    "block.self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "block.mlp": ("up_proj", "down_proj"),
}
_OPTIONAL = {"block.self_attn": ("q_norm", "k_norm")}
SUPPORTED = "use a decoder with Llama's sub-modules (Llama, Mistral, Qwen2, Qwen3, Helium, SmolLM2, SmolLM3)"

Inactive = Callable[[Any], bool]
_ABSENT: Inactive = lambda value: value is None  # noqa: E731
_FIELDS: tuple[tuple[str, Inactive, str], ...] = (
    ("attention_dropout", lambda value: not value, "set it to 0.0"),
    ("attn_logit_softcapping", _ABSENT, "use a checkpoint without soft-capping"),
    ("final_logit_softcapping", _ABSENT, "use a checkpoint without soft-capping"),
    ("clip_qkv", _ABSENT, "use a checkpoint that does not clip"),
    ("is_causal", lambda value: value in (None, True), "use a causal language model"),
    ("use_bidirectional_attention", lambda value: not value, "use a causal language model"),
    ("quantization_config", _ABSENT, "use the checkpoint in bfloat16, float16 or float32"),
)
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")
_TOKENS = 8
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
_HALF_TOLERANCE = 0.1


def check_config(config: PretrainedConfig) -> None:
    """Raise a UsageError that names a field of the config whose effect the blocks here would leave out."""
    name = type(config).__name__
    for field, inactive, fix in _FIELDS:
        value = getattr(config, field, None)
        if not inactive(value):
            raise UsageError(f"backbone {name} has {field}={value}, which is not supported; {fix}")
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    windowed = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    if window is not None and windowed:
        raise UsageError(
            f"backbone {name} has sliding_window={window}, which is not supported: self-attention here sees "
            f"the whole stream; set it to null in config.json if every stream is shorter than {window} "
            "tokens, or use a checkpoint with full attention"
        )
    other = sorted(set(kinds or ()) - {"full_attention", "sliding_attention"})
    if other:
        raise UsageError(f"backbone {name} has layer_types with {', '.join(other)}; {SUPPORTED}")
    parameters = getattr(config, "rope_parameters", None) or {}
    part = parameters.get("partial_rotary_factor", 1.0)
    if part != 1.0:
        raise UsageError(
            f"backbone {name} has partial_rotary_factor={part}: positions rotate a part of each head only, "
            f"which is not supported; {SUPPORTED}"
        )
    rope = parameters.get("rope_type", "default")
    if rope not in _STATIC_ROPE:
        raise UsageError(
            f"backbone {name} has rope_type={rope!r}, whose frequencies depend on the length seen so far, so "
            f"cached keys would be wrong; set one of {', '.join(_STATIC_ROPE)}"
        )


def check_architecture(name: str, model: nn.Module) -> None:
    """Raise a UsageError that names the sub-module a decoder lacks, or has beyond what is computed here."""
    _check_needed(name, "model", model)
    layers = list(cast("nn.ModuleList", model.layers))
    for layer in layers:
        _check_needed(name, "block", layer)
        _check_needed(name, "block.self_attn", cast("nn.Module", layer.self_attn))
        _check_needed(name, "block.mlp", cast("nn.Module", layer.mlp))
    _check_beyond(name, "model", model)
    for layer in layers:
        _check_beyond(name, "block", layer)
        _check_beyond(name, "block.self_attn", cast("nn.Module", layer.self_attn))


def _check_needed(name: str, place: str, module: nn.Module) -> None:
    present = [child for child, _ in module.named_children()]
    missing = [part for part in _NEEDED[place] if part not in present]
    if missing:
        raise UsageError(
            f"backbone {name} is not supported: its {place} lacks {', '.join(missing)}; {SUPPORTED}"
        )


def _check_beyond(name: str, place: str, module: nn.Module) -> None:
    known = {*_NEEDED[place], *_OPTIONAL.get(place, ())}
    children = [part for part, child in module.named_children() if not _does_nothing(child)]
    parameters = [part for part, _ in module.named_parameters(recurse=False)]
    beyond = [part for part in (*children, *parameters) if part not in known]
    if beyond:
        raise UsageError(
            f"backbone {name} is not supported: its {place} has {', '.join(beyond)}, which would be left "
            f"out; {SUPPORTED}"
        )


def _does_nothing(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0)


@torch.no_grad()
def check_forward(lm: nn.Module, decoder: Decoder) -> float:
    """Compare the blocks' logits with the language model's own on a few tokens.

    Returns the largest difference, relative to the largest logit. Raises UsageError where the two differ by
    more than rounding: such an architecture computes something besides its sub-modules (scaled residuals or
    embeddings, a parallel block, ...).
    """
    weight = decoder.embed.weight
    ids_t = torch.linspace(0, len(weight) - 1, _TOKENS).long().to(weight.device)
    own = cast("Tensor", lm(input_ids=ids_t[None], use_cache=False).logits)[0]
    here = decoder.logits(_plain_pass(decoder, ids_t))
    difference = float((own - here).abs().max() / own.abs().max())
    if not difference <= _TOLERANCE.get(weight.dtype, _HALF_TOLERANCE):
        raise UsageError(
            f"backbone {type(lm).__name__} is not supported: composed of its sub-modules, its logits differ "
            f"from its own forward pass by {difference:.1e} of the largest, so it computes something besides "
            f"them; {SUPPORTED}"
        )
    return difference


def _plain_pass(decoder: Decoder, ids_t: Tensor) -> Tensor:
    """The last block's output for one text: [T] → [T, d]."""
    h_td = cast("Tensor", decoder.embed(ids_t))
    rope = decoder.rope(torch.arange(len(ids_t), device=ids_t.device), h_td)
    mask_tt = torch.ones(len(ids_t), len(ids_t), dtype=torch.bool, device=ids_t.device).tril()
    for i in range(len(decoder.blocks)):
        block = decoder.block(i)
        attention, x_td = block.attention, block.normed(h_td)
        q, k = attention.queries(x_td, rope), attention.keys(x_td, rope)
        o = attend_reference(q, k, attention.values(x_td), mask_tt, attention.scale)
        h_td = block.ffn(h_td + attention.output(o))
    return h_td
