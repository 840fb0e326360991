"""One small random model per registered method."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import pytest
import torch
from torch import nn
from transformers import Qwen3Config

from harness import registry
from harness.backbones.decoder import Decoder
from harness.fusion import FusionMethod
from harness.models import method_config

VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("token_insertion", {}),
    ("token_insertion", {"positions": "one_per_token"}),
    ("vanilla_ca", {}),
    ("casa", {}),
    ("casa", {"gists": 0}),
    ("casa", {"gists": 3}),
    ("flamingo", {}),
    ("flamingo", {"every": 1, "depth": 2, "activation": "swiglu", "qk_norms": True}),
    ("mllama", {}),
    ("mllama", {"every": 1, "group": "same_time"}),
    ("resampler", {}),
    ("resampler", {"depth": 2, "heads": 6, "positions": "one_per_token"}),
    ("resampler", {"kind": "qformer", "depth": 3}),
    ("pruning", {}),
    ("pruning", {"layer": 1, "ratio": 0.7, "positions": "one_per_token"}),
    ("pruning", {"ranked_by": "prompt"}),
    ("streaming_eviction", {}),
    ("streaming_eviction", {"sinks": 1, "text_window": 2, "frames": 1, "positions": "one_per_token"}),
    ("streaming_eviction", {"sinks": 2, "text_window": 0, "frames": 2}),
    ("no_visual_self_attention", {}),
    ("no_visual_self_attention", {"image_updates": "ffn", "positions": "one_per_token"}),
    ("no_visual_self_attention", {"layers": (1, 2), "image_updates": "mlp", "positions": "aside"}),
    ("voco", {}),
    ("voco", {"tokens": 1, "positions": "one_per_token"}),
    ("hyper_attention", {}),
    ("hyper_attention", {"layers": (1, 2), "fusion": "channel_gate", "placeholder": False}),
    ("hyper_attention", {"fusion": "one_softmax"}),
]
Pair = tuple[Decoder, FusionMethod]


def all_variants() -> list[tuple[str, dict[str, object]]]:
    """The variants above and the defaults of every other registered method."""
    registry.discover()
    covered = {name for name, _ in VARIANTS}
    return VARIANTS + [(name, {}) for name in registry.methods if name not in covered]


def use_exact_norms(module: nn.Module) -> None:
    """Replace RMS norms, which ``transformers`` always computes in float32, by torch's own,
    since a float64 comparison would otherwise see float32 rounding."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm") and not isinstance(child, nn.RMSNorm):
                weight = cast("nn.Parameter", child.weight)
                exact = nn.RMSNorm(len(weight), eps=float(cast("float", child.variance_epsilon)))
                exact.weight = weight
                setattr(parent, name, exact)


@cache
def _build(name: str, settings: tuple[tuple[str, object], ...]) -> Pair:
    config = Qwen3Config(
        vocab_size=128,
        hidden_size=96,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    decoder = Decoder(config)
    use_exact_norms(decoder)
    cls = registry.methods.get(name)
    fusion = cls(method_config(name, dict(settings)), decoder)
    with torch.no_grad():
        for parameter in (*decoder.parameters(), *fusion.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))
    return decoder.double().eval(), fusion.double().eval()


@pytest.fixture(params=all_variants(), ids=lambda v: v[0] + "".join(f":{k}={x}" for k, x in v[1].items()))
def pair(request: pytest.FixtureRequest) -> Pair:
    """A decoder and a fusion method in float64."""
    name, settings = request.param
    return _build(name, tuple(settings.items()))


@pytest.fixture
def past_only(pair: Pair) -> None:
    """Skip methods whose rows depend on the end of their chunk."""
    if pair[1].prompt_dependent:
        pytest.skip("depends on the prompt's end by definition; see test_what_prompt_dependence_breaks")


@pytest.fixture
def build() -> Callable[..., Pair]:
    """Build a named method with settings."""
    return lambda name, **settings: _build(name, tuple(settings.items()))
