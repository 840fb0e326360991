"""Which kernel torch takes for ``scaled_dot_product_attention``, against what the counter believes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn.attention import SDPBackend

from benchmarks.gpu.records import Card
from harness.attention.builds import fused_choice
from harness.records import Environment

CHOICES_SCHEMA: Final = 1
FILE = "fused_choice.json"
DTYPES = ("bfloat16", "float16", "float32")
HEADS = ((8, 8), (8, 2))
LENGTHS = ((1, 64), (4, 64), (64, 64), (16, 64), (65, 65))
WIDTHS = (24, 60, 64, 128, 256, 264)

Chooser = Callable[[Tensor, Tensor, Tensor | None, bool], str]


class Choice(BaseModel):
    """One shape: q [1, heads, queries, width] over k, v [1, kv_heads, keys, width]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: str
    heads: int
    kv_heads: int
    queries: int
    keys: int
    width: int
    mask: bool
    """Additive, in the queries' precision."""
    causal: bool
    training: bool
    """Whether gradients are asked for."""
    believed: str
    taken: str


class Choices(BaseModel):
    """The table, and where it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = CHOICES_SCHEMA
    environment: Environment
    card: Card
    choices: tuple[Choice, ...]

    @property
    def wrong(self) -> list[Choice]:
        return [one for one in self.choices if one.believed != one.taken]


def torch_choice(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> str:
    """What torch would take for tensors of their own device."""
    grouped = q.shape[1] != k.shape[1]
    choice = torch._fused_sdp_choice(q, k, k, mask, 0.0, causal, scale=None, enable_gqa=grouped)
    return SDPBackend(choice).name.removesuffix("_ATTENTION").lower()


def compare_choices(device: torch.device, choose: Chooser = torch_choice) -> Iterator[Choice]:
    """Both answers for every shape of the table."""
    for dtype, (heads, kv_heads), (queries, keys), width, (mask, causal), training in product(
        DTYPES, HEADS, LENGTHS, WIDTHS, ((False, False), (False, True), (True, False)), (False, True)
    ):
        make = {"dtype": getattr(torch, dtype), "device": device}
        q = torch.zeros(1, heads, queries, width, **make, requires_grad=training)
        k = torch.zeros(1, kv_heads, keys, width, **make, requires_grad=training)
        added = torch.zeros(queries, keys, **make) if mask else None
        yield Choice(
            dtype=dtype,
            heads=heads,
            kv_heads=kv_heads,
            queries=queries,
            keys=keys,
            width=width,
            mask=mask,
            causal=causal,
            training=training,
            believed=fused_choice(q, k, added, causal),
            taken=choose(q, k, added, causal),
        )
