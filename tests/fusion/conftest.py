"""One small random model per registered method."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from harness import registry
from harness.backbones.decoder import Decoder
from harness.fusion import FusionMethod
from harness.testing.subjects import Target
from harness.testing.subjects import use_exact_norms as use_exact_norms

VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("token_insertion", {}),
    ("token_insertion", {"positions": "one_per_token"}),
    ("token_insertion", {"positions": "mrope"}),
    ("vanilla_ca", {}),
    ("casa", {}),
    ("casa", {"gists": 0}),
    ("casa", {"gists": 3}),
    ("casa", {"positions": "mrope"}),
    ("casa", {"window_size": 2, "gists": 0, "pooled_gists": 2, "windows": 2}),
    ("casa", {"parameters": "shared", "image_updates": "both", "windows": 3, "window_size": 3}),
    ("casa", {"keys": "image", "placement": "before", "gists": 1, "pooled_gists": 1}),
    ("casa", {"parameters": "shared", "placement": "replace", "every": 2, "windows": "all", "gists": 1}),
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
    ("hyper_attention", {}),
    ("hyper_attention", {"layers": (1, 2), "fusion": "channel_gate", "placeholder": False}),
    ("hyper_attention", {"fusion": "one_softmax"}),
    ("no_visual_self_attention", {}),
    ("no_visual_self_attention", {"image_updates": "ffn", "positions": "one_per_token"}),
    ("no_visual_self_attention", {"layers": (1, 2), "image_updates": "mlp", "positions": "aside"}),
    ("voco", {}),
    ("voco", {"tokens": 1, "positions": "one_per_token"}),
]
Pair = tuple[Decoder, FusionMethod]


def all_variants() -> list[tuple[str, dict[str, object]]]:
    """The variants above and the defaults of every other registered method."""
    registry.discover()
    covered = {name for name, _ in VARIANTS}
    return VARIANTS + [(name, {}) for name in registry.methods if name not in covered]


def variant_id(variant: tuple[str, dict[str, object]]) -> str:
    name, settings = variant
    return name + "".join(f":{field}={value}" for field, value in settings.items())


@cache
def _build(name: str, settings: tuple[tuple[str, object], ...]) -> Pair:
    subject = Target.of(name, dict(settings)).build("qwen3")
    return subject.decoder, subject.fusion


@pytest.fixture(params=all_variants(), ids=variant_id)
def pair(request: pytest.FixtureRequest) -> Pair:
    """A decoder and a fusion method in float64."""
    name, settings = request.param
    return _build(name, tuple(settings.items()))


@pytest.fixture
def build() -> Callable[..., Pair]:
    """Build a named method with settings."""
    return lambda name, **settings: _build(name, tuple(settings.items()))
