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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from harness.attention import Block, Index, Pattern, attend, to_device
from harness.backbones.decoder import Decoder, DecoderBlock, Projections, Rope
from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.errors import UsageError
from harness.layout import Cursor, Images, Kind, Layout, PackedSample, Rows, causal_blocks
from harness.state import FusionState, KeyValues
from harness.windows import Visible, WindowKeys

Order = Literal[0, 1, 2]
GREATEST = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig:
    """Base of a method's settings; every field is settable from the command line and part of a cell's
    identity.

    ``max_images``: a stream with more images is refused; none for no limit.
    """

    max_images: int | None = None


def check_least(method: str, config: FusionConfig, least: Mapping[str, int]) -> None:
    """Raise a UsageError for a whole number of a config below its least value, or absurdly large."""
    for name, number in least.items():
        value = getattr(config, name)
        if isinstance(value, int) and not number <= value <= GREATEST:
            raise UsageError(f"{method} {name}={value} is not usable; give {number} to {GREATEST}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOrder:
    """Declared growth of peak memory at fixed text: 0 constant, 1 linear, 2 quadratic."""

    prefill_frames: Order
    prefill_pixels: Order
    streaming_frames: Order
    streaming_pixels: Order

    def __post_init__(self) -> None:
        for axis in dataclasses.fields(self):
            order: object = getattr(self, axis.name)
            if order not in get_args(Order):
                raise UsageError(
                    f"memory order {axis.name}={order!r} is not usable; give 0 (constant), 1 (linear) or "
                    "2 (quadratic)"
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
    ropes: dict[str, Rope] = field(default_factory=dict)
    """Rotary positions of a method's own rows."""
    carried: dict[str, Tensor] = field(default_factory=dict)
    """A method's own tensors that layers hand on, for instance the hidden states of images aside."""

    @cached_property
    def cached(self) -> int:
        """Rows of the stream that were there before this chunk."""
        return len(self.state.text) - len(self.layout.rows) if self.state else 0

    @cached_property
    def rope(self) -> Rope:
        return self._rope_of(self.layout.rows)

    @cached_property
    def image_rope(self) -> Rope:
        return self._rope_of(self.layout.images)

    @cached_property
    def causal(self) -> Pattern:
        """Ordinary causal self-attention over the token stream."""
        blocks = causal_blocks(self.layout.rows, self.cached)
        return self.pattern(blocks, keys=self.cached + len(self.layout.rows))

    def pattern(self, blocks: Sequence[Block], keys: int, rows: int | None = None) -> Pattern:
        """A pattern over ``keys`` keys; its queries are the chunk's rows unless ``rows`` says how many."""
        return Pattern(blocks, len(self.layout.rows) if rows is None else rows, keys, self.device)

    def _rope_of(self, places: Rows | Images) -> Rope:
        if not places.offset.any():
            return self.rope_at(places.position)
        temporal = np.zeros_like(places.position)
        axes = places.position + np.stack((temporal, places.offset[:, 0], places.offset[:, 1]))
        return self.decoder.mrope(to_device(axes, self.device), self.decoder.embed.weight)

    def rope_at(self, positions: Index) -> Rope:
        """Cosines and sines for positions [n]."""
        return self.decoder.rope(to_device(positions, self.device), self.decoder.embed.weight)


class FusionMethod(nn.Module, ABC):
    """Base of a fusion method: one file, one frozen config, one subclass, one ``@register_method``."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    memory: ClassVar[MemoryOrder]
    Config: ClassVar[type[FusionConfig]] = FusionConfig
    prompt_dependent: bool = False
    """Whether what a chunk's rows compute depends on the chunk's end, as where the question selects what is
    kept of the images. Every question is then asked in a pass of its own; chunking and branches change
    results."""

    def __init_subclass__(cls) -> None:
        # A class that is not registered has a name too, and not that of the method that it extends.
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __init__(self, config: FusionConfig, decoder: Decoder) -> None:
        super().__init__()
        check_least(self.name, config, {"max_images": 0})
        self.config = config
        self.layers = len(decoder.blocks)

    @abstractmethod
    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        """What enters the token stream, its positions and windows (see :func:`harness.layout.lay_out`)."""

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        """What decoder block i does: [R, d] → [R, d]. The default is the block itself."""
        return block.ffn(h_rd + self_attention(i, block.attention, block.normed(h_rd), step))

    def begin(self, step: Step) -> None:
        """Called once per step before the layers: announce rows to the state's own buffers, make patterns,
        leave out images that nothing sees, and say which rows are not kept after the step."""

    def finish(self, step: Step) -> None:
        """Called once per step after the layers: drop what only they could tell is not kept."""

    def new_state(self) -> FusionState:
        """An empty streaming state."""
        return FusionState(KeyValues(self.layers))

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept | None:
        """What a session keeps of a stream, by arithmetic from the method's equations alone.

        None where the method does not declare it; then nothing is compared.
        """
        return None

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work | None:
        """What the blocks compute for a chunk of a stream, by arithmetic alone, the connector and the head
        left out; None where the method does not declare it."""
        return None

    def gist_embeddings(self) -> Tensor | None:
        """Embeddings [gists, d] of the gist rows, where the layout asks for any."""
        return None

    def embed(self, step: Step) -> Tensor:
        """The rows' embeddings [R, d]: text from the backbone, images from the connector, gists from the
        method."""
        rows, decoder = step.layout.rows, step.decoder
        tables = (decoder.embed.weight, step.layout.images.tokens, self.gist_embeddings())
        parts, order = [], []
        for kind, table in enumerate(tables):
            where = (rows.kind == kind).nonzero()[0]
            if len(where):
                if table is None:
                    raise UsageError(f"method {self.name} lays out gist rows but has no gist_embeddings()")
                parts.append(table.index_select(0, to_device(rows.source[where], step.device)))
                order.append(where)
        if not parts:
            return decoder.embed.weight.new_zeros(0, decoder.width)
        if len(parts) == 1:
            return parts[0]
        inverse = np.argsort(np.concatenate(order), kind="stable")
        return torch.cat(parts).index_select(0, to_device(inverse, step.device))

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
        self._check_count(layout)
        # Also where a chunk has no frame: its empty tokens must not differ in dtype or device.
        tokens = layout.images.tokens.to(embedding)
        if tokens is not layout.images.tokens:
            layout = dataclasses.replace(layout, images=dataclasses.replace(layout.images, tokens=tokens))
        if state is not None:
            rows = layout.rows
            state.text.describe(rows.kind, rows.window, rows.frame)
            state.cursor = layout.cursors[0]
        step = Step(layout, decoder, state, device)
        self.begin(step)
        h_rd = self.embed(step)
        for i, block in enumerate(decoder.blocks):
            h_rd = self.layer(i, cast("DecoderBlock", block), h_rd, step)
        if state is not None:
            for buffer in state.buffers().values():
                buffer.settle()
        self.finish(step)
        return h_rd, step.layout

    def _check_count(self, layout: Layout) -> None:
        most = self.config.max_images
        if most is None:
            return
        count = max((cursor.frame + 1 for cursor in layout.cursors), default=0)
        if count > most:
            raise UsageError(
                f"a stream has {count} images, but {self.name} is set to max_images={most}; "
                "show fewer images or raise max_images"
            )


def self_attention(layer: int, attention: Projections, x_rd: Tensor, step: Step) -> Tensor:
    """The block's causal self-attention over the token stream, cached when there is a state: [R, d] → [R,
    d]."""
    q, k, v = attention.queries_keys_values(x_rd, step.rope)
    if step.state is not None:
        k, v = step.state.text.extend(layer, k, v)
    return attention.output(attend(q, k, v, step.causal, attention.scale))


IMAGES = "image_kv"
"""Name of the buffer of image keys and values that windows share."""


def kept(step: Step, buffer: str, slot: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of the chunk, [n, K, D], after those that a buffer of the state keeps."""
    return (k, v) if step.state is None else step.state.extra[buffer].extend(slot, k, v)


def describe_images(step: Step) -> None:
    """Announce the chunk's images to the state's image buffer."""
    if step.state is not None:
        images = step.layout.images
        kinds = np.full(len(images), int(Kind.IMAGE), dtype=np.int64)
        step.state.extra[IMAGES].describe(kinds, images.window, images.frame)


def image_keys(step: Step) -> WindowKeys:
    """Attributes of the image keys that rows may see: the cached ones, then the chunk's."""
    images = step.layout.images
    if step.state is None:
        return WindowKeys(images.sample, images.window, images.frame, np.zeros_like(images.sample))
    return cached_keys(step.state.extra[IMAGES])


def cached_keys(buffer: KeyValues, first: int = 0) -> WindowKeys:
    """Attributes of the rows of a stream's buffer from row ``first`` on."""
    zeros = np.zeros(len(buffer) - first, dtype=np.int64)
    return WindowKeys(zeros, buffer.columns["window"][first:], buffer.columns["frame"][first:], zeros)


def drop_past_windows(step: Step, *buffers: str, span: int | None = 1) -> None:
    """Keep the rows of the last ``span`` windows only in the named buffers. In ``begin``, after their rows
    are described, no more than one layer's dropped rows are ever held."""
    if step.state is not None and span is not None:
        first = Visible(span).first(step.state.cursor.window)
        for name in buffers:
            buffer = step.state.extra[name]
            buffer.keep(buffer.columns["window"] >= first)


def check_declaration(name: str, cls: object) -> None:
    """Raise a UsageError that names what a method's class lacks."""
    if not (isinstance(cls, type) and issubclass(cls, FusionMethod)):
        raise UsageError(f"method {name!r} is {cls!r}; it must be a subclass of harness.fusion.FusionMethod")
    missing = [a for a in ("summary", "paper", "memory") if not hasattr(cls, a)]
    if missing:
        raise UsageError(f"method {name!r} lacks the class variable(s) {', '.join(missing)}")
    if not isinstance(cls.memory, MemoryOrder):
        raise UsageError(f"method {name!r} has memory={cls.memory!r}; give a harness.fusion.MemoryOrder")
    if cls.__abstractmethods__:
        raise UsageError(f"method {name!r} lacks {', '.join(sorted(cls.__abstractmethods__))}")
    # A class that only inherits from a dataclass would lose the fields that it adds.
    if not ("__dataclass_fields__" in vars(cls.Config) and issubclass(cls.Config, FusionConfig)):
        raise UsageError(f"method {name!r}: Config must be a frozen dataclass that extends FusionConfig")
