"""CASA's equations over dense masks, one token and one pair at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.fusion_impls.casa import CASA, CASAConfig
from harness.layout import Kind, Span, TextSpan


@dataclass
class Place:
    """What the equations need to know of one text, gist or image token."""

    kind: Kind
    order: int
    position: int
    window: int
    frame: int


@dataclass
class Tokens:
    """A stream written out token by token; hidden states beside their places."""

    text: list[Place] = field(default_factory=list)
    image: list[Place] = field(default_factory=list)
    pooled: list[Place] = field(default_factory=list)
    h: list[Tensor] = field(default_factory=list)
    y: list[Tensor] = field(default_factory=list)
    p: list[Tensor] = field(default_factory=list)


def positions_of(config: CASAConfig) -> str | None:
    """The scheme of the image keys' positions, None for no positions; by default the paper's."""
    if config.positions is None:
        return {"image": None, "image_text": "aside"}[config.keys]
    return None if config.positions == "nope" else config.positions


def write_out(decoder: Decoder, fusion: CASA, spans: tuple[Span, ...]) -> Tokens:
    config, tokens = fusion.c, Tokens()
    scheme = positions_of(config)
    order, position, window, frame, last = 0, 0, -1, -1, None

    def add_text(kind: Kind, vector: Tensor) -> None:
        nonlocal order, position
        tokens.text.append(Place(kind, order, position, window, frame))
        tokens.h.append(vector)
        order, position = order + 1, position + 1

    after_frame = False
    for span in spans:
        if isinstance(span, TextSpan):
            for token in span.ids.tolist():
                add_text(Kind.TEXT, decoder.embed.weight[token])
            after_frame = after_frame and not len(span.ids)
            continue
        frame += 1
        window += 0 if after_frame and span.time_s == last else 1
        y_nd = span.tokens.double()
        for number, y in enumerate(y_nd):
            shift = number if scheme == "one_per_token" else 0
            tokens.image.append(Place(Kind.IMAGE, order, position + shift, window, frame))
            tokens.y.append(y)
            order += 1
        if fusion.pool is not None:
            weights = torch.softmax(y_nd @ fusion.pool.score.weight.T, dim=0)
            for j in range(config.pooled_gists):
                tokens.pooled.append(Place(Kind.GIST, order, position, window, frame))
                tokens.p.append((weights[:, j : j + 1] * y_nd).sum(dim=0) @ fusion.pool.project.weight.T)
        position += {"one_per_frame": 1, "one_per_token": len(y_nd)}.get(scheme or "aside", 0)
        for j in range(config.gists):
            add_text(Kind.GIST, fusion.gist_tokens[j])
        last, after_frame = span.time_s, True
    return tokens


def sees(config: CASAConfig, tokens: Tokens, query: Place, key: Place, pooled: bool) -> bool:
    """The equations' visibility, one pair at a time."""
    span = 10**9 if config.windows == "all" else int(config.windows)
    near = query.window - span < key.window <= query.window
    if query.kind == Kind.GIST:
        return key.kind == Kind.IMAGE and key.window == query.window and key.frame <= query.frame
    if pooled:
        return query.kind == Kind.TEXT and key.window <= query.window - span
    if key.kind == Kind.IMAGE:
        return near and key.order <= query.order
    if config.keys == "image" or not near or key.order > query.order:
        return False
    between = [
        other
        for other in tokens.text
        if key.order < other.order <= query.order and query.window - span < other.window <= query.window
    ]
    # The bound counts the text tokens before the query, itself not among them.
    distance = len(between) + (1 if query.kind == Kind.IMAGE else 0)
    return config.window_size is None or distance <= config.window_size


def heads(projection: nn.Module, norm: nn.Module, x_td: Tensor, width: int) -> Tensor:
    x: Tensor = projection(x_td)
    return norm(x.view(len(x), -1, width))  # type: ignore[no-any-return]


def eager(
    decoder: Decoder, attention: Projections, q_from: tuple[Tensor, list[Place]], kv: Any, mask: Tensor
) -> Tensor:
    """Softmax attention over a dense mask, before the output projection; ``kv`` is (x, places, rotate)."""
    x, places, rotate = kv
    q = heads(attention.q_proj, attention.q_norm, q_from[0], attention.head_dim)
    k = heads(attention.k_proj, attention.k_norm, x, attention.head_dim)
    v = heads(attention.v_proj, nn.Identity(), x, attention.head_dim)
    if rotate:
        q, k = (
            attention.rotated(t, decoder.rope(torch.tensor([p.position for p in at]), x[:1]))
            for t, at in ((q, q_from[1]), (k, places))
        )
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = torch.einsum("thd,shd->hts", q, k) * attention.scale
    scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.nan_to_num(torch.softmax(scores, dim=-1))
    return torch.einsum("hts,shd->thd", weights, v).flatten(1)


def dense_casa(decoder: Decoder, fusion: CASA, spans: tuple[Span, ...]) -> Tensor:
    """The text and gist rows' output of all blocks, from the equations."""
    config, tokens = fusion.c, write_out(decoder, fusion, spans)
    h = torch.stack(tokens.h)
    empty = h[:0]
    y, p = (torch.stack(part) if part else empty for part in (tokens.y, tokens.p))
    keys = tokens.image + tokens.text + tokens.pooled
    is_pooled = [False] * (len(keys) - len(tokens.pooled)) + [True] * len(tokens.pooled)

    def mask(queries: list[Place]) -> Tensor:
        rows = [
            [sees(config, tokens, q, k, pool) for k, pool in zip(keys, is_pooled, strict=True)]
            for q in queries
        ]
        return torch.tensor(rows, dtype=torch.bool).view(len(queries), len(keys))

    text_mask, image_mask = mask(tokens.text), mask(tokens.image)
    causal = torch.ones(len(h), len(h), dtype=torch.bool).tril()

    def self_attention(block: DecoderBlock, x: Tensor) -> Tensor:
        attended = eager(decoder, block.attention, (x, tokens.text), (x, tokens.text, True), causal)
        return block.attention.o_proj(attended)  # type: ignore[no-any-return]

    for i in range(fusion.layers):
        block = decoder.block(i)
        slot = i // config.every if (i + 1) % config.every == 0 else None
        x, z, u = block.norm(h), block.norm(y), block.norm(p)
        cross = torch.zeros_like(h)
        if slot is not None:
            own = config.parameters == "own"
            attention = fusion.cross[slot] if own else block.attention
            assert isinstance(attention, Projections)
            kv = (torch.cat((z, x, u)), keys, positions_of(config) is not None)
            cross = attention.o_proj(eager(decoder, attention, (x, tokens.text), kv, text_mask))
            if config.image_updates in ("attention", "both") and len(y):
                y = y + attention.o_proj(eager(decoder, attention, (z, tokens.image), kv, image_mask))
        if slot is None:
            h = h + self_attention(block, x)
        elif config.placement == "parallel":
            h = h + self_attention(block, x) + cross
            # One output projection for both attentions where it is shared: its bias counts once.
            if config.parameters == "shared":
                o_proj = cast("nn.Linear", block.attention.o_proj)
                h = h - (0.0 if o_proj.bias is None else o_proj.bias)
        else:
            h = h + cross
            if config.placement == "before":
                h = h + self_attention(block, block.normed(h))
        h = h + block.mlp(block.ffn_norm(h))
        if config.image_updates in ("ffn", "both"):
            y = y + block.mlp(block.ffn_norm(y))
    return h
