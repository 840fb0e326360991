"""CASA against its equations: every setting against a dense-mask version, and the identity with token
insertion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.errors import UsageError
from harness.fusion import FusionMethod
from harness.fusion_impls.casa import CASA, CASAConfig
from harness.layout import FrameSpan, Kind, PackedSample, Span, TextSpan

from .conftest import Pair
from .streams import plans, seeds, spans_from

TOLERANCE = 1e-9
Build = Callable[..., Pair]
some = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
BRIDGED: dict[str, object] = {
    "parameters": "shared",
    "keys": "image_text",
    "positions": "one_per_frame",
    "placement": "replace",
    "image_updates": "both",
    "windows": "all",
    "gists": 0,
}
SINGLE_DIFFERENCES: list[dict[str, object]] = [
    {},
    {"parameters": "shared"},
    {"parameters": "shared", "keys": "image", "gists": 0},
    {"parameters": "shared", "positions": "nope"},
    {"keys": "image"},
    {"keys": "image", "gists": 0},
    {"keys": "image", "positions": "aside"},
    {"positions": "one_per_frame"},
    {"positions": "one_per_token"},
    {"window_size": 0},
    {"window_size": 2},
    {"placement": "before"},
    {"placement": "before", "parameters": "shared"},
    {"placement": "replace", "every": 2},
    {"placement": "replace", "every": 3, "window_size": 3, "gists": 0, "pooled_gists": 2},
    {"every": 2},
    {"image_updates": "ffn"},
    {"image_updates": "attention"},
    {"image_updates": "both", "windows": 2, "window_size": 2},
    {"gists": 0},
    {"gists": 4},
    {"gists": 0, "pooled_gists": 1},
    {"keys": "image", "gists": 0, "pooled_gists": 3},
    {"gists": 0, "windows": 2},
    {"gists": 0, "windows": 3, "pooled_gists": 2},
    {"gists": 0, "windows": "all"},
    {"parameters": "shared", "gists": 0, "windows": "all"},
]


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


def write_out(decoder: Decoder, fusion: CASA, spans: tuple[Span, ...]) -> Tokens:
    config, tokens = fusion.c, Tokens()
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
            shift = number if fusion.positions == "one_per_token" else 0
            tokens.image.append(Place(Kind.IMAGE, order, position + shift, window, frame))
            tokens.y.append(y)
            order += 1
        if fusion.pool is not None:
            weights = torch.softmax(y_nd @ fusion.pool.score.weight.T, dim=0)
            for j in range(config.pooled_gists):
                tokens.pooled.append(Place(Kind.GIST, order, position, window, frame))
                tokens.p.append((weights[:, j : j + 1] * y_nd).sum(dim=0) @ fusion.pool.project.weight.T)
        position += {"one_per_frame": 1, "one_per_token": len(y_nd)}.get(fusion.positions or "aside", 0)
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
        slot = fusion.slots.get(i)
        x, z, u = block.norm(h), block.norm(y), block.norm(p)
        cross = torch.zeros_like(h)
        if slot is not None:
            own = config.parameters == "own"
            attention = fusion.cross[slot] if own else block.attention
            assert isinstance(attention, Projections)
            kv = (torch.cat((z, x, u)), keys, fusion.positions is not None)
            cross = attention.o_proj(eager(decoder, attention, (x, tokens.text), kv, text_mask))
            if config.image_updates in ("attention", "both") and len(y):
                y = y + attention.o_proj(eager(decoder, attention, (z, tokens.image), kv, image_mask))
        if slot is None:
            h = h + self_attention(block, x)
        elif config.placement == "parallel":
            h = h + self_attention(block, x) + cross
        else:
            h = h + cross
            if config.placement == "before":
                h = h + self_attention(block, block.normed(h))
        h = h + block.mlp(block.ffn_norm(h))
        if config.image_updates in ("ffn", "both"):
            y = y + block.mlp(block.ffn_norm(y))
    return h


def in_double(spans: tuple[Span, ...]) -> PackedSample:
    return PackedSample(
        tuple(
            replace(span, tokens=span.tokens.double()) if isinstance(span, FrameSpan) else span
            for span in spans
        )
    )


@some
@given(seed=seeds, plan=plans)
@pytest.mark.parametrize(
    "setting", SINGLE_DIFFERENCES, ids=lambda s: "+".join(f"{k}={v}" for k, v in s.items())
)
def test_every_setting_equals_its_dense_equation(
    build: Build, setting: dict[str, object], seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, fusion = build("casa", **setting)
    assert isinstance(fusion, CASA)
    spans = spans_from(seed, plan)
    fast, _ = fusion.run([in_double(spans)], decoder)
    torch.testing.assert_close(fast, dense_casa(decoder, fusion, spans), atol=TOLERANCE, rtol=0)


def logits_and_gradients(
    decoder: Decoder, fusion: FusionMethod, spans: tuple[Span, ...]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Logits of the text rows, and the gradients of the decoder's parameters and the image tokens."""
    decoder.zero_grad()
    sample = in_double(spans)
    images = [span.tokens.requires_grad_() for span in sample.prefix if isinstance(span, FrameSpan)]
    h_rd, layout = fusion.run([sample], decoder)
    text = torch.from_numpy(layout.rows.kind == Kind.TEXT)
    logits = decoder.logits(h_rd[text])
    logits.sin().sum().backward()  # type: ignore[no-untyped-call]
    decoded = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in decoder.parameters()]
    return logits.detach(), decoded, [torch.zeros_like(y) if y.grad is None else y.grad for y in images]


@some
@given(seed=seeds, plan=plans)
@pytest.mark.parametrize("positions", ["one_per_frame", "one_per_token"])
def test_identity_all_differences_bridged_is_token_insertion(
    build: Build, positions: str, seed: int, plan: list[tuple[str, int]]
) -> None:
    spans = spans_from(seed, plan)
    decoder, insertion = build("token_insertion", positions=positions)
    same_decoder, casa = build("casa", **{**BRIDGED, "positions": positions})
    wanted = logits_and_gradients(decoder, insertion, spans)
    torch.testing.assert_close(
        logits_and_gradients(same_decoder, casa, spans), wanted, atol=TOLERANCE, rtol=1e-7
    )


@pytest.mark.parametrize("undone", [key for key in BRIDGED if key != "gists"])
def test_identity_needs_every_bridge(build: Build, undone: str) -> None:
    default = {"windows": 1, "image_updates": "none", "placement": "parallel", "parameters": "own"}
    other = {**default, "keys": "image", "positions": "one_per_token"}
    spans = spans_from(3, [("text", 2), ("frame", 4), ("text", 2), ("frame", 3), ("text", 3)])
    decoder, insertion = build("token_insertion")
    same_decoder, casa = build("casa", **{**BRIDGED, undone: other[undone]})
    wanted = logits_and_gradients(decoder, insertion, spans)[0]
    assert (logits_and_gradients(same_decoder, casa, spans)[0] - wanted).abs().max() > 1e-4


@some
@given(seed=seeds, plan=plans)
def test_vanilla_ca_is_casa_with_image_keys_and_no_history(
    build: Build, seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, vanilla = build("vanilla_ca")
    same_decoder, casa = build("casa", keys="image", gists=0)
    assert isinstance(casa, CASA)
    casa = CASA(casa.c, same_decoder).double()
    casa.cross.load_state_dict({k.removeprefix("cross."): v for k, v in vanilla.state_dict().items()})
    sample = in_double(spans_from(seed, plan))
    torch.testing.assert_close(casa.run([sample], same_decoder)[0], vanilla.run([sample], decoder)[0])


def test_own_layers_start_from_the_self_attention(build: Build) -> None:
    decoder, _ = build("token_insertion")
    casa = CASA(CASAConfig(every=2), decoder)
    assert list(casa.slots) == [1]
    for name, value in casa.cross[0].state_dict().items():
        assert torch.equal(value, decoder.block(1).attention.state_dict()[name])


def test_text_before_the_first_image_gets_exactly_nothing_from_the_image_part(build: Build) -> None:
    decoder, casa = build("casa", keys="image", gists=0)
    spans = spans_from(5, [("text", 3)])
    plain = spans_from(5, [("text", 3), ("frame", 4), ("text", 1)])
    with torch.no_grad():
        text_only = casa.run([in_double(spans)], decoder)[0]
        before = casa.run([in_double(plain)], decoder)[0][: len(text_only)]
        _, insertion = build("token_insertion")
        assert torch.equal(before, text_only)
        torch.testing.assert_close(text_only, insertion.run([in_double(spans)], decoder)[0])


def streamed(pair: Pair, spans: tuple[Span, ...]) -> dict[str, int]:
    decoder, casa = pair
    state = casa.new_state()
    for span in in_double(spans).prefix:
        casa.run([PackedSample((span,))], decoder, state)
    tensors = [tensor for group in state.tensors().values() for tensor in group]
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    assert sum(held.values()) == sum(state.bytes_by_kind().values())
    return state.bytes_by_kind()


@pytest.mark.parametrize("placement", ["parallel", "before"])
def test_bytes_per_frame_are_those_of_the_history(build: Build, placement: str) -> None:
    """Gist tokens are kept by the self-attention of every block, pooled gists by every CASA layer."""
    row = 2 * 3 * 2 * 24 * 8  # keys and values, blocks, K/V heads, head width, float64
    frames = [("frame", 5)] * 6
    grown: dict[str, dict[str, int]] = {}
    settings: dict[str, dict[str, object]] = {
        "none": {"gists": 0},
        "gists": {"gists": 2},
        "pooled": {"gists": 0, "pooled_gists": 2},
        "images": {"gists": 0, "windows": 3},
    }
    for name, setting in settings.items():
        pair = build("casa", placement=placement, **setting)
        few = streamed(pair, spans_from(1, [*frames, ("text", 1)]))
        many = streamed(pair, spans_from(1, [*frames, *frames, ("text", 1)]))
        grown[name] = {kind: many[kind] - few[kind] for kind in many}
    assert grown["none"] == {"text_kv": 0, "image_kv": 0, "gist_kv": 0}
    assert grown["gists"] == {"text_kv": 0, "image_kv": 0, "gist_kv": 6 * 2 * row}
    assert grown["pooled"] == grown["gists"]
    assert grown["images"] == grown["none"]


def test_shared_projections_keep_their_text_once(build: Build) -> None:
    spans = spans_from(2, [("frame", 3), ("text", 4)])
    own = streamed(build("casa", gists=0), spans)
    shared = streamed(build("casa", gists=0, parameters="shared"), spans)
    # The start token and four more in the self-attention, four in the window where it keeps its own.
    assert shared["text_kv"] * 9 == own["text_kv"] * 5
    assert shared["image_kv"] == own["image_kv"]


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"every": 4}, "every=4"),
        ({"gists": -1}, "gists=-1"),
        ({"gists": 10**20}, f"gists={10**20}"),
        ({"windows": 0}, "windows=0"),
        ({"keys": "image", "window_size": 4}, "window_size"),
        ({"windows": "all", "pooled_gists": 2}, "pooled_gists"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    build: Build, setting: dict[str, object], names: str
) -> None:
    with pytest.raises(UsageError, match=names):
        build("casa", **setting)
