"""Whole methods in float32 and bfloat16: the fast routes' errors against the reference's own.

Both are compared with a float64 run of the same (rounded) weights. The budget is that of
``test_budgets``; over a whole model most rounding is outside of attention and common to both sides.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config

from harness import registry
from harness.attention import Route, recording, using
from harness.attention import routes as routes_module
from harness.attention.varlen import Kernel, torch_kernel
from harness.backbones.decoder import Decoder
from harness.fusion import FusionMethod
from harness.layout import FrameSpan, PackedSample
from harness.testing.subjects import use_exact_norms

from ..fusion.streams import random_batch
from .cases import varlen_attn_2_13
from .test_budgets import OUTPUT_FACTOR as FACTOR
from .test_budgets import excess

registry.discover()
Pair = tuple[Decoder, FusionMethod]
SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "tie_word_embeddings": True,
}


def in_dtype(batch: Sequence[PackedSample], dtype: torch.dtype) -> list[PackedSample]:
    return [
        PackedSample(
            tuple(
                FrameSpan(span.tokens.bfloat16().to(dtype), span.time_s)
                if isinstance(span, FrameSpan)
                else span
                for span in sample.prefix
            ),
            sample.branches,
        )
        for sample in batch
    ]


@cache
def build(name: str) -> Pair:
    """A small random model with weights that every precision holds exactly."""
    torch.manual_seed(0)
    decoder = Decoder(Qwen3Config(**SIZES))
    cls = registry.methods.get(name)
    fusion = cls(cls.Config(), decoder)
    with torch.no_grad():
        for parameter in (*decoder.parameters(), *fusion.parameters()):
            # Gates and projections that start at zero take part too.
            parameter.add_(0.05 * torch.randn_like(parameter))
    return decoder.bfloat16().eval(), fusion.bfloat16().eval()


def run_in(name: str, dtype: torch.dtype, seed: int, route: str) -> list[Tensor]:
    decoder, fusion = copy.deepcopy(build(name))
    if dtype == torch.float64:
        use_exact_norms(decoder)
        use_exact_norms(fusion)
    with using("reference" if route == "reference" else "auto"):
        return logits_and_gradients(decoder.to(dtype), fusion.to(dtype), seed)


def logits_and_gradients(decoder: Decoder, fusion: FusionMethod, seed: int) -> list[Tensor]:
    """Logits, and all parameters' gradients as one vector, in float64."""
    batch = in_dtype(random_batch(seed, 2), decoder.embed.weight.dtype)
    logits = decoder.logits(fusion.run(batch, decoder)[0])
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed)).bfloat16()
    parameters = [p for p in (*decoder.parameters(), *fusion.parameters()) if p.numel()]
    gradients = torch.autograd.grad(logits, parameters, upstream.to(logits), allow_unused=True)
    flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    return [logits.detach().double(), torch.cat([g.flatten().double() for g in flat])]


def varlen_stand_in(route: Route, q_thd: Tensor) -> tuple[Route, Kernel]:
    return "varlen", torch_kernel(varlen_attn_2_13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("route", ["blocks", "varlen"])
@pytest.mark.parametrize("name", tuple(registry.methods))
def test_a_method_s_errors_stay_within_the_reference_s_own(
    monkeypatch: pytest.MonkeyPatch, name: str, route: str, dtype: torch.dtype
) -> None:
    if route == "varlen":
        monkeypatch.setattr(routes_module, "_kernel", varlen_stand_in)
    ratios = []
    for seed in (1, 2, 3):
        exact = run_in(name, torch.float64, seed, "reference")
        reference, fast = (run_in(name, dtype, seed, side) for side in ("reference", route))
        with recording() as seen:
            run_in(name, dtype, seed, route)
        assert not any(kernel.startswith("reference") for kernel in seen)
        ratios.append([excess(*x, FACTOR, dtype) for x in zip(fast, reference, exact, strict=True)])
    assert max(max(pair) for pair in ratios) <= 1, ratios
