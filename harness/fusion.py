"""The contract of a fusion method, and the streaming state it keeps.

A method composes the backbone's own sub-modules. It says what enters the token stream
(:meth:`FusionMethod.lay_out`), what decoder block i does with it (:meth:`FusionMethod.layer`) and what is
kept between frames (:class:`FusionState`). The harness owns tokenising, vision encoding, the connector,
sampling and measuring.

Shapes: R rows, M image tokens aside, d model width, H heads, K key/value heads, D head width, S cached and
new keys.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from harness.attention import Block, Index, Pattern, attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections, Rope
from harness.errors import UsageError
from harness.layout import Cursor, Kind, Layout, PackedSample, WindowKeys, causal_blocks

Order = Literal[0, 1, 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig:
    """Base of a method's settings; every field is settable from the command line and part of a cell's
    identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOrder:
    """Declared growth of peak memory at fixed text: 0 constant, 1 linear, 2 quadratic."""

    prefill_frames: Order
    prefill_pixels: Order
    streaming_frames: Order
    streaming_pixels: Order


class KeyValues:
    """Keys and values of every layer for one growing set of rows, with the rows' attributes.

    Tensors are never changed in place, so a copy of the lists is a fork that shares storage.
    """

    COLUMNS = ("kind", "window", "frame")

    def __init__(self, layers: int) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.columns: dict[str, Index] = {name: np.zeros(0, dtype=np.int64) for name in self.COLUMNS}

    def __len__(self) -> int:
        return len(self.columns["kind"])

    def describe(self, kind: Index, window: Index, frame: Index) -> None:
        """Announce new rows, once per step, before the layers extend."""
        for name, new in zip(self.COLUMNS, (kind, window, frame), strict=True):
            self.columns[name] = np.concatenate((self.columns[name], new))

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append [n, K, D] to a layer and return all its keys and values."""
        old_k, old_v = self.keys[layer], self.values[layer]
        all_k = k if old_k is None or not len(old_k) else torch.cat((old_k, k))
        all_v = v if old_v is None or not len(old_v) else torch.cat((old_v, v))
        self.keys[layer], self.values[layer] = all_k, all_v
        return all_k, all_v

    def keep(self, mask: Index) -> None:
        """Drop every row outside a boolean mask; the dropped rows' bytes are freed."""
        if mask.all():
            return
        index = torch.from_numpy(np.flatnonzero(mask))
        for store in (self.keys, self.values):
            for layer, tensor in enumerate(store):
                if tensor is not None:
                    store[layer] = tensor.index_select(0, index.to(tensor.device))
        self.columns = {name: column[mask] for name, column in self.columns.items()}

    def fork(self) -> KeyValues:
        copy = KeyValues(len(self.keys))
        copy.keys, copy.values, copy.columns = list(self.keys), list(self.values), dict(self.columns)
        return copy

    def tensors(self) -> list[Tensor]:
        return [tensor for tensor in (*self.keys, *self.values) if tensor is not None and tensor.numel()]

    def bytes_of(self, kind: Kind) -> int:
        """Bytes of the rows of one kind over all layers."""
        if not len(self):
            return 0
        per_row = sum(tensor.nbytes for tensor in self.tensors()) / len(self)
        return round(per_row * int((self.columns["kind"] == kind).sum()))


@dataclass
class FusionState:
    """What a session keeps between frames: named buffers whose bytes can be counted.

    ``text`` is the self-attention cache of everything in the token stream. ``extra`` holds a method's own
    buffers, for instance the current window's image keys and values.
    """

    text: KeyValues
    extra: dict[str, KeyValues] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)

    def buffers(self) -> dict[str, KeyValues]:
        return {"stream_kv": self.text, **self.extra}

    def tensors(self) -> dict[str, list[Tensor]]:
        """The real tensors of every buffer."""
        return {name: buffer.tensors() for name, buffer in self.buffers().items()}

    def bytes_by_kind(self) -> dict[str, int]:
        """Bytes kept, by what they represent: ``text_kv``, ``image_kv``, ``gist_kv``."""
        return {
            f"{kind.name.lower()}_kv": sum(buffer.bytes_of(kind) for buffer in self.buffers().values())
            for kind in Kind
        }

    def fork(self) -> Self:
        """An independent continuation; storage is shared until either side drops it."""
        return dataclasses.replace(
            self,
            text=self.text.fork(),
            extra={name: buffer.fork() for name, buffer in self.extra.items()},
        )


@dataclass
class Step:
    """One forward pass over a chunk: its layout, the state it continues (None in training) and derived
    values."""

    layout: Layout
    decoder: Decoder
    state: FusionState | None
    device: torch.device
    patterns: dict[str, Pattern] = field(default_factory=dict)
    """A method's own attention patterns, made once per step in ``begin``."""

    @cached_property
    def cached(self) -> int:
        """Rows of the stream that were there before this chunk."""
        return len(self.state.text) - len(self.layout.rows) if self.state else 0

    @cached_property
    def rope(self) -> Rope:
        return self._rope_at(self.layout.rows.position)

    @cached_property
    def image_rope(self) -> Rope:
        return self._rope_at(self.layout.images.position)

    @cached_property
    def causal(self) -> Pattern:
        """Ordinary causal self-attention over the token stream."""
        blocks = causal_blocks(self.layout.rows, self.cached)
        return self.pattern(blocks, keys=self.cached + len(self.layout.rows))

    def pattern(self, blocks: Sequence[Block], keys: int) -> Pattern:
        return Pattern(blocks, len(self.layout.rows), keys, self.device)

    def _rope_at(self, positions: Index) -> Rope:
        like = self.decoder.embed.weight[:1]
        return self.decoder.rope(torch.from_numpy(positions).to(self.device), like)


class FusionMethod(nn.Module, ABC):
    """Base of a fusion method: one file, one frozen config, one subclass, one ``@register_method``."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    memory: ClassVar[MemoryOrder]
    Config: ClassVar[type[FusionConfig]] = FusionConfig

    def __init__(self, config: FusionConfig, decoder: Decoder) -> None:
        super().__init__()
        self.config = config
        self.layers = len(decoder.blocks)

    @abstractmethod
    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        """What enters the token stream, its positions and windows (see :func:`harness.layout.lay_out`)."""

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        """What decoder block i does: [R, d] → [R, d]. The default is the block itself."""
        return block.ffn(h_rd + self_attention(i, block.attention, block.normed(h_rd), step))

    def begin(self, step: Step) -> None:
        """Called once per step before the layers: announce rows to the state's own buffers."""

    def finish(self, step: Step) -> None:
        """Called once per step after the layers: drop what is not kept."""

    def new_state(self) -> FusionState:
        """An empty streaming state."""
        return FusionState(KeyValues(self.layers))

    def gist_embeddings(self) -> Tensor | None:
        """Embeddings [gists, d] of the gist rows, where the layout asks for any."""
        return None

    def embed(self, step: Step) -> Tensor:
        """The rows' embeddings [R, d]: text from the backbone, images from the connector, gists from the
        method."""
        rows, decoder = step.layout.rows, step.decoder
        tables = {
            Kind.TEXT: decoder.embed.weight,
            Kind.IMAGE: step.layout.images.tokens,
            Kind.GIST: self.gist_embeddings(),
        }
        present = [(kind, np.flatnonzero(rows.kind == kind)) for kind in Kind]
        parts, order = [], []
        for kind, where in present:
            table = tables[kind]
            if len(where):
                if table is None:
                    raise UsageError(f"method {self.name} lays out gist rows but has no gist_embeddings()")
                parts.append(table.index_select(0, torch.from_numpy(rows.source[where]).to(step.device)))
                order.append(where)
        if not parts:
            return decoder.embed.weight.new_zeros(0, decoder.width)
        inverse = np.argsort(np.concatenate(order), kind="stable")
        return torch.cat(parts).index_select(0, torch.from_numpy(inverse).to(step.device))

    def run(
        self, samples: Sequence[PackedSample], decoder: Decoder, state: FusionState | None = None
    ) -> tuple[Tensor, Layout]:
        """All decoder blocks over a batch, or over one sample's next chunk when a state is given.

        Returns the last block's output [R, d] and the layout.
        """
        embedding = decoder.embed.weight
        device = embedding.device
        cursors = [state.cursor] if state is not None else [Cursor()] * len(samples)
        layout = self.lay_out(samples, cursors, decoder.width)
        # Also where a chunk has no frame: its empty tokens must not differ in dtype or device.
        images = dataclasses.replace(layout.images, tokens=layout.images.tokens.to(embedding))
        layout = dataclasses.replace(layout, images=images)
        if state is not None:
            rows = layout.rows
            state.text.describe(rows.kind, rows.window, rows.frame)
            state.cursor = layout.cursors[0]
        step = Step(layout, decoder, state, device)
        self.begin(step)
        h_rd = self.embed(step)
        for i in range(self.layers):
            h_rd = self.layer(i, decoder.block(i), h_rd, step)
        self.finish(step)
        return h_rd, layout


def self_attention(layer: int, attention: Projections, x_rd: Tensor, step: Step) -> Tensor:
    """The block's causal self-attention over the token stream, cached when there is a state: [R, d] → [R,
    d]."""
    q = attention.queries(x_rd, step.rope)
    k, v = attention.keys(x_rd, step.rope), attention.values(x_rd)
    if step.state is not None:
        k, v = step.state.text.extend(layer, k, v)
    return attention.output(attend(q, k, v, step.causal, attention.scale))


IMAGES, WINDOW_TEXT = "window_image_kv", "window_text_kv"
"""Names of the state buffers of methods with windows."""


def image_keys(step: Step) -> WindowKeys:
    """Attributes of the image keys that rows may see: the current window's cached ones, then the chunk's."""
    images = step.layout.images
    if step.state is None:
        return WindowKeys(images.sample, images.window, images.frame, np.zeros_like(images.sample))
    return _cached_keys(step.state.extra[IMAGES])


def text_keys(step: Step) -> WindowKeys:
    """Attributes of the text keys that rows may see: the current window's cached ones, then the chunk's
    rows."""
    rows = step.layout.rows
    if step.state is None:
        return WindowKeys(rows.sample, rows.window, rows.frame, rows.branch)
    return _cached_keys(step.state.extra[WINDOW_TEXT])


def _cached_keys(buffer: KeyValues) -> WindowKeys:
    zeros = np.zeros(len(buffer), dtype=np.int64)
    return WindowKeys(zeros, buffer.columns["window"], buffer.columns["frame"], zeros)


def describe_images(step: Step) -> None:
    """Announce the chunk's images to the state's window buffer."""
    if step.state is not None:
        images = step.layout.images
        kinds = np.full(len(images), int(Kind.IMAGE), dtype=np.int64)
        step.state.extra[IMAGES].describe(kinds, images.window, images.frame)


def drop_past_windows(step: Step) -> None:
    """Keep the current window's rows only in every window buffer."""
    if step.state is not None:
        for buffer in step.state.extra.values():
            buffer.keep(buffer.columns["window"] == step.state.cursor.window)


def check_declaration(name: str, cls: type) -> None:
    """Raise a UsageError that names what a registered class lacks."""
    if not (isinstance(cls, type) and issubclass(cls, FusionMethod)):
        raise UsageError(f"method {name!r} is {cls!r}; it must be a subclass of harness.fusion.FusionMethod")
    missing = [a for a in ("summary", "paper", "memory") if not hasattr(cls, a)]
    if missing:
        raise UsageError(f"method {name!r} lacks the class variable(s) {', '.join(missing)}")
    if not (dataclasses.is_dataclass(cls.Config) and issubclass(cls.Config, FusionConfig)):
        raise UsageError(f"method {name!r}: Config must be a frozen dataclass that extends FusionConfig")
