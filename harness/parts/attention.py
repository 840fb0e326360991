"""Attention with parameters of its own and no positions, and the FFN that stands beside it.

Shapes: T queries, S keys, H heads, K key/value heads, D head width, d model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from harness.attention import Pattern, attend
from harness.backbones.decoder import Decoder, Projections

Norm = Callable[[int], nn.Module]
"""Makes the norm of a width."""
Activation = Literal["relu", "squared_relu", "gelu", "swiglu"]
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "squared_relu": lambda x: relu(x).square(),
    "gelu": gelu,
    "swiglu": silu,
}


def layer_norm(eps: float) -> Norm:
    return lambda width: nn.LayerNorm(width, eps=eps)


def rms_norm(eps: float) -> Norm:
    return lambda width: nn.RMSNorm(width, eps=eps)


def norm_of(decoder: Decoder) -> Norm:
    """RMS norms with the backbone's epsilon."""
    return rms_norm(float(getattr(decoder.config, "rms_norm_eps", 1e-6)))


@dataclass(frozen=True, slots=True)
class Heads:
    """``count`` heads of width D, ``kv`` of them for keys and values."""

    count: int
    kv: int
    width: int

    @classmethod
    def of(cls, attention: Projections) -> Self:
        """The heads of a backbone's attention."""
        q, k = (cast("nn.Linear", p).out_features for p in (attention.q_proj, attention.k_proj))
        return cls(q // attention.head_dim, k // attention.head_dim, attention.head_dim)


class OwnAttention(nn.Module):
    """q, k, v, o, and norms of each head's queries and keys where ``qk_norm`` makes them.

    With ``bias``, q, v and o have one. A bias of the keys would shift all scores of a query alike, which the
    softmax takes out again, so there is none.
    """

    def __init__(self, width: int, heads: Heads, bias: bool = False, qk_norm: Norm | None = None) -> None:
        super().__init__()
        self.head_dim, self.scale = heads.width, heads.width**-0.5
        self.q_proj = nn.Linear(width, heads.count * heads.width, bias=bias)
        self.k_proj = nn.Linear(width, heads.kv * heads.width, bias=False)
        self.v_proj = nn.Linear(width, heads.kv * heads.width, bias=bias)
        self.o_proj = nn.Linear(heads.count * heads.width, width, bias=bias)
        self.q_norm = nn.Identity() if qk_norm is None else qk_norm(heads.width)
        self.k_norm = nn.Identity() if qk_norm is None else qk_norm(heads.width)

    def queries(self, x_td: Tensor) -> Tensor:
        """[T, d] → [T, H, D]."""
        return cast("Tensor", self.q_norm(self._heads(self.q_proj(x_td))))

    def keys(self, y_sd: Tensor) -> Tensor:
        """[S, d] → [S, K, D]."""
        return cast("Tensor", self.k_norm(self._heads(self.k_proj(y_sd))))

    def values(self, y_sd: Tensor) -> Tensor:
        """[S, d] → [S, K, D]."""
        return self._heads(self.v_proj(y_sd))

    def attended(self, x_td: Tensor, k_skd: Tensor, v_skd: Tensor, pattern: Pattern) -> Tensor:
        """Rows x [T, d] that attend to keys and values [S, K, D]: [T, d]."""
        o_thd = attend(self.queries(x_td), k_skd, v_skd, pattern, self.scale)
        return cast("Tensor", self.o_proj(o_thd.flatten(1)))

    def forward(self, x_td: Tensor, y_sd: Tensor, pattern: Pattern) -> Tensor:
        """Rows x [T, d] that attend to y [S, d]: [T, d]."""
        return self.attended(x_td, self.keys(y_sd), self.values(y_sd), pattern)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1] // self.head_dim, self.head_dim)


class FeedForward(nn.Module):
    """``down(act(up x))``, or ``down(silu(gate x) * up x)`` for ``swiglu`` (arXiv 2002.05202, section 2)."""

    def __init__(self, width: int, inner: int, activation: Activation, bias: bool = False) -> None:
        super().__init__()
        self.act = _ACTIVATIONS[activation]
        self.gate = nn.Linear(width, inner, bias=bias) if activation == "swiglu" else None
        self.up = nn.Linear(width, inner, bias=bias)
        self.down = nn.Linear(inner, width, bias=bias)

    def forward(self, x_td: Tensor) -> Tensor:
        """[T, d] → [T, d]."""
        up = cast("Tensor", self.up(x_td))
        inner = self.act(up) if self.gate is None else self.act(self.gate(x_td)) * up
        return cast("Tensor", self.down(inner))


@torch.no_grad()
def init_like(decoder: Decoder, module: nn.Module) -> None:
    """Draw the weights of linear layers as ``transformers`` draws the backbone's; biases start at 0."""
    std = spread_of(decoder)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def spread_of(decoder: Decoder) -> float:
    """The standard deviation of the backbone's initial weights."""
    return float(getattr(decoder.config, "initializer_range", 0.02))
