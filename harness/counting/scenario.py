"""One scenario, run once under the counter. What a phase continues is made in an interlude before it: what
that leaves alive is counted, wherever the method keeps it, and what it takes on the way is not.

Nothing loops over what repeats. The frames before the last are already encoded, since every batch of them
takes the same; a session that holds n frames is made in one pass, since chunking changes no byte of it.

Shapes: F frames, N tokens per frame, D encoder width, d model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.attention import to_device
from harness.backbones.decoder import DecoderBlock
from harness.counting.records import CountKey
from harness.counting.shapes import ShapeCache
from harness.fusion import Step
from harness.layout import FrameSpan, Kind, PackedSample, Span, TextSpan
from harness.measure.counted import INTERLUDE, CountedMemory
from harness.measure.counted import Kind as StorageKind
from harness.measure.flops import Operations, Traffic
from harness.session import Session
from harness.state import FusionState, KeyValues
from harness.vlm import FusedModel

_shapes = ShapeCache()
ANY_TOKEN = 0
"""Whatever is said costs the same."""


class Region(Protocol):
    """What watches a scenario's memory from its beginning to its end, and is told what tensors are."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def tag(self, tensors: Iterable[Tensor] | nn.Module, kind: StorageKind) -> None: ...
    def mark(self) -> None: ...


class Watch(Protocol):
    """What a scenario runs under: the counter, or the reader of a device's allocator."""

    @property
    def memory(self) -> Region: ...
    def phase(self, name: str) -> None: ...


@dataclass
class Counter:
    """The counter of one scenario, with the operations and traffic of its phases but vision encoding.

    Of a streamed turn these are the frame's arrival and one token.
    """

    memory: CountedMemory
    operations: Operations
    traffic: Traffic

    @classmethod
    def on(cls, device: str) -> Counter:
        operations, traffic = Operations(), Traffic(device)
        memory = CountedMemory(
            device=device,
            observers=(operations, traffic),
            execute=_shapes if device == "meta" else None,
        )
        return cls(memory, operations, traffic)

    def phase(self, name: str) -> None:
        self.memory.begin_phase(name)
        aside = name in ("encode", INTERLUDE)
        self.memory.observers = () if aside else (self.operations, self.traffic)


@dataclass
class Run:
    """What a scenario leaves behind."""

    counter: Counter
    state: FusionState | None
    """Of the session; None after a training step."""


def run_scenario(key: CountKey, model: FusedModel) -> Run:
    """Count one scenario on the model's device; raises what the model raises."""
    counter = Counter.on(model.device.type)
    return Run(counter, watched_run(key, model, counter))


def watched_run(key: CountKey, model: FusedModel, watch: Watch) -> FusionState | None:
    """Run one scenario under whatever watches it; the session's state, None after a training step."""
    watch.memory.tag(model.parameters(), "parameters")
    watch.memory.tag(model.buffers(), "buffers")
    with _marked(model, watch.memory):
        return _MODES[key.mode](_Scene(key, model, watch))


@contextmanager
def _marked(model: FusedModel, memory: Region) -> Iterator[None]:
    """Mark a boundary after every decoder block."""
    fusion, layer = model.fusion, model.fusion.layer

    def marking(i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        output = layer(i, block, h_rd, step)
        memory.mark()
        return output

    fusion.layer = marking  # type: ignore[method-assign]
    try:
        yield
    finally:
        del fusion.layer


class _Scene:
    """A scenario's inputs, made as they are needed."""

    def __init__(self, key: CountKey, model: FusedModel, counter: Watch) -> None:
        self.key, self.model, self.counter = key, model, counter
        self.tokens = model.encoder.tokens(key.height, key.width)
        self.grid = model.encoder.grid(key.height, key.width)
        # Made before anything is counted: token ids stay on the host.
        self.text, self.one, self.after_frame = (text_of(n) for n in (key.text, 1, key.text_per_frame))
        self.start = TextSpan(torch.tensor([model.bos]))

    def pixels(self, frames: int) -> Tensor:
        size = (frames, self.key.height, self.key.width, 3)
        pixels = torch.zeros(size, dtype=torch.uint8, device=self.model.device)
        self.counter.memory.tag([pixels], "inputs")
        return pixels

    def features(self, frames: int) -> Tensor:
        """[F, N, D], as the encoder leaves them."""
        weight = next(self.model.encoder.parameters())
        features = torch.zeros(
            (frames, self.tokens, self.model.encoder.width), dtype=weight.dtype, device=weight.device
        )
        self.counter.memory.tag([features], "inputs")
        return features

    def last_batch(self) -> tuple[Tensor, Tensor]:
        """Room for the features of all frames [F, N, D], and the pixels of the last batch of them."""
        return self.features(self.key.frames), self.pixels(min(self.key.encode_batch, self.key.frames))

    def encode(self, features_fnd: Tensor, pixels_fhwc: Tensor) -> None:
        """A phase: the last batch is encoded into its place."""
        self.counter.phase("encode")
        features_fnd[len(features_fnd) - len(pixels_fhwc) :] = self.model.encode(pixels_fhwc)

    def frames(self, features_fnd: Tensor) -> list[Span]:
        """Spans of frames 0 to F, one second apart, each with the text that follows it."""
        times = [float(second) for second in range(len(features_fnd))]
        spans: list[Span] = []
        for tokens, time_s in zip(self.model.frame_tokens(features_fnd, times), times, strict=True):
            spans.append(FrameSpan(tokens, time_s, self.grid))
            if len(self.after_frame.ids):
                spans.append(self.after_frame)
        return spans

    def held(self, frames: int, text_first: bool) -> Session:
        """A session that holds the fixed text and ``frames`` frames with their text."""
        session = self.model.session()
        spans = self.frames(self.features(frames)) if frames else []
        session.append_spans([self.text, *spans] if text_first else [*spans, self.text])
        tag_state(self.counter.memory, session.state)
        return session


def text_of(tokens: int) -> TextSpan:
    return TextSpan(torch.full((tokens,), ANY_TOKEN))


@torch.inference_mode()
def _prefill(scene: _Scene) -> FusionState | None:
    features, pixels = scene.last_batch()
    counter = scene.counter
    with counter.memory:
        scene.encode(features, pixels)
        counter.phase("prefill")
        session = scene.model.session()
        session.append_spans([*scene.frames(features), scene.text])
        session.next_logits()
    tag_state(counter.memory, session.state)
    return session.state


@torch.inference_mode()
def _decode(scene: _Scene) -> FusionState | None:
    counter = scene.counter
    with counter.memory:
        counter.phase(INTERLUDE)
        session = scene.held(scene.key.frames, text_first=False)
        counter.phase("token")
        session.append_spans([scene.one])
        session.next_logits()
    tag_state(counter.memory, session.state)
    return session.state


@torch.inference_mode()
def _stream(scene: _Scene) -> FusionState | None:
    key, model, counter = scene.key, scene.model, scene.counter
    pixels = scene.pixels(1)
    with counter.memory:
        counter.phase(INTERLUDE)
        session = scene.held(key.frames - 1, text_first=True)
        counter.phase("encode")
        features = model.encode(pixels)
        counter.phase("frame")
        session.append_features(features[0], float(key.frames - 1), scene.grid)
        del features
        tag_state(counter.memory, session.state)
        if key.text_per_frame:
            # Every token takes a little more than the one before it: the last is the one to count.
            counter.phase(INTERLUDE)
            session.append_spans([text_of(key.text_per_frame - 1)])
            tag_state(counter.memory, session.state)
            counter.phase("token")
            session.append_spans([scene.one])
            session.next_logits()
    tag_state(counter.memory, session.state)
    return session.state


def _train(scene: _Scene) -> FusionState | None:
    """The second of two steps, so that the optimiser's state is there. The loss is over the fixed text."""
    model, counter = scene.model.train(), scene.counter
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(scene.key.optimizer, trained)
    try:
        for p in trained:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        optimizer.zero_grad()
        kept = (t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor))
        counter.memory.tag((t for t in kept if t.dim()), "optimizer")
        features, pixels = scene.last_batch()
        with counter.memory:
            scene.encode(features, pixels)
            counter.phase("forward")
            loss = _loss(scene, features)
            counter.phase("backward")
            loss.backward()  # type: ignore[no-untyped-call]
            counter.memory.tag((p.grad for p in trained if p.grad is not None), "gradients")
            counter.phase("optimizer")
            optimizer.step()
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()
    return None


def _loss(scene: _Scene, features_fnd: Tensor) -> Tensor:
    model, ids = scene.model, scene.text.ids
    prefix = (scene.start, *scene.frames(features_fnd))
    h_rd, layout = model.fusion.run([PackedSample(prefix, (scene.text,))], model.decoder)
    asked = np.flatnonzero(layout.rows.branch > 0)
    logits = model.decoder.logits(h_rd[int(asked[0]) :])
    return cross_entropy(logits, to_device(ids.numpy(), logits.device))


def make_optimizer(name: str | None, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """An optimiser whose flavour is named, since flavours differ in peak memory."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=1e-3, foreach=True)
    return torch.optim.AdamW(parameters, lr=1e-3, foreach=name == "adamw-foreach")


_MODES: dict[str, Callable[[_Scene], FusionState | None]] = {
    "prefill": _prefill,
    "decode": _decode,
    "stream": _stream,
    "train": _train,
}


def tag_state(memory: Region, state: FusionState) -> None:
    """Name what a session holds by what it represents: a buffer's rows share its storages."""
    buffers = state.buffers()
    for name, tensors in state.tensors().items():
        buffer = buffers.get(name)
        if isinstance(buffer, KeyValues) and len(buffer):
            kinds = {f"{kind.name.lower()}_kv": int((buffer.columns["kind"] == kind).sum()) for kind in Kind}
            memory.tag(tensors, {kind: rows for kind, rows in kinds.items() if rows})
        else:
            memory.tag(tensors, "method_state")
