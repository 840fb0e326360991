"""Equations over dense masks, token by token, that methods are compared with.

Shapes: T queries, S keys, R rows, M image tokens, H heads, K key/value heads, D head width, d model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbones.decoder import Decoder, Rope
from harness.layout import FrameSpan, Kind, Span, TextSpan


@dataclass(frozen=True)
class Token:
    """One token of a stream: its embedding [d], position, and the last frame at or before it (-1: none)."""

    kind: Kind
    vector: Tensor
    position: int
    frame: int


def as_double(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(FrameSpan(s.tokens.double(), s.time_s) if isinstance(s, FrameSpan) else s for s in spans)


def tokens_of(
    decoder: Decoder,
    spans: Sequence[Span],
    positions: str,
    specials: Tensor | None = None,
    with_image: bool = False,
) -> list[Token]:
    """A stream's tokens in order, with the special tokens [k, d] of every frame behind it.

    ``positions`` as in :data:`harness.layout.ImagePositions`; ``with_image`` puts a frame and its one special
    token at one position.
    """
    tokens: list[Token] = []
    position, frame = 0, -1
    for span in spans:
        if isinstance(span, TextSpan):
            for vector in decoder.embed.weight[span.ids]:
                tokens.append(Token(Kind.TEXT, vector, position, frame))
                position += 1
            continue
        frame += 1
        for n, vector in enumerate(span.tokens):
            place = position + (n if positions == "one_per_token" else 0)
            tokens.append(Token(Kind.IMAGE, vector, place, frame))
        if not with_image:
            position += {"aside": 0, "one_per_frame": 1, "one_per_token": len(span.tokens)}[positions]
        for vector in specials if specials is not None else ():
            tokens.append(Token(Kind.GIST, vector, position, frame))
            position += 1
    return tokens


def rope_of(decoder: Decoder, tokens: Sequence[Token]) -> Rope:
    return decoder.rope(torch.tensor([t.position for t in tokens]), decoder.embed.weight[:1])


def stacked(tokens: Sequence[Token], like: Tensor) -> Tensor:
    """The tokens' vectors [n, d]; n may be 0."""
    return torch.stack([t.vector for t in tokens]) if tokens else like.new_zeros(0, like.shape[-1])


def dense_attention(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, mask_ts: Tensor, scale: float) -> Tensor:
    """softmax(q k^T scale) v over the keys that each query sees; 0 where it sees none."""
    of_head = torch.arange(q_thd.shape[1]) // (q_thd.shape[1] // k_skd.shape[1])
    k_hsd, v_hsd = (x[:, of_head].transpose(0, 1) for x in (k_skd, v_skd))
    weights_hts = (q_thd.transpose(0, 1) @ k_hsd.transpose(1, 2) * scale).exp() * mask_ts
    total_ht1 = weights_hts.sum(dim=2, keepdim=True)
    return (weights_hts @ v_hsd / total_ht1.where(total_ht1 > 0, 1.0)).transpose(0, 1)
