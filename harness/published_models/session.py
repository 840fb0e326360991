"""The streaming state of a published model: frames and text are written as its class writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.published_models.chat import Last
from harness.published_models.family import Chunk, Placed
from harness.session import continuation_ids
from harness.stream import Frame, Stream, Text, check_time
from harness.vlm import finite

if TYPE_CHECKING:
    from harness.published_models.model import PublishedModel


@dataclass(frozen=True, slots=True)
class Image:
    """A frame to append: features [N, D] and its height and width in pixels."""

    features: Tensor
    size: tuple[int, int]


Piece = Tensor | Image
"""Token ids [n], or a frame."""


class PublishedSession:
    """One stream: a user's turn, which its first item opens. An answer ends it: no second turn.

    Where the class cannot be streamed, what is appended waits until logits, bytes or a fork are asked for,
    and runs in one pass then; no frame can follow.
    """

    def __init__(self, model: PublishedModel) -> None:
        self.model = model
        self.state = model.family.new_state()
        self._waiting: list[Piece] = []
        self._last: Last = "start"
        self._hidden: Tensor | None = None
        self._time_s: float | None = None

    def append(self, item: Text | Frame | str) -> None:
        """Append a text span or a frame (encoded here)."""
        if isinstance(item, str):
            item = Text(item)
        if not isinstance(item, Text | Frame):
            raise UsageError(f"a session takes Text, Frame or str, not {type(item).__name__}")
        stream = Stream((item,))
        pixels = [torch.from_numpy(np.array(frame.pixels, order="C")) for frame in stream.frames]
        self.append_stream(stream, self.model.encode(torch.stack(pixels)) if pixels else torch.zeros(0, 0, 0))

    @torch.inference_mode()
    def append_stream(self, stream: Stream, features_fnd: Tensor, question: str | None = None) -> None:
        """Append a stream with its frames' features [F, N, D], and a question that ends the turn, in one
        pass. Raises UsageError for times that go back, and for a frame that comes too late (see
        ``PublishedModel.not_streamed``)."""
        if len(stream.frames) != len(features_fnd):
            raise UsageError(
                f"a stream with {len(stream.frames)} frames came with features of {len(features_fnd)}"
            )
        features = iter(features_fnd)
        for item in stream:
            if isinstance(item, Frame):
                self._write_frame(item, next(features))
            else:
                self._write_text(item.text)
        if question is not None:
            self._write_text(question)
            self._waiting.append(self.model.writer.tail())
        if self.model.not_streamed is None:
            self._flush()

    @torch.inference_mode()
    def next_logits(self) -> Tensor:
        """Logits [V] after the last row. Raises UsageError after an image, NonFiniteError for NaN."""
        self._flush()
        if self._last == "image":
            raise UsageError(
                "the stream ends with an image, and no text after it has seen it; "
                "append the question's text before asking for an answer"
            )
        if self._hidden is None:
            raise UsageError("a session has no row to continue from; append text first")
        return finite(self.model.family.logits(self._hidden))[0]

    def step(self) -> int:
        """Decode one token greedily, append it and return its id."""
        token = int(self.next_logits().argmax())
        self._waiting.append(torch.tensor([token]))
        self._flush()
        return token

    @torch.inference_mode()
    def continuation(self, text: str) -> tuple[Tensor, Tensor]:
        """Logits [n, V] before each of the n tokens of a text that would go on here, and the tokens' ids [n].

        The session stays as it is. Raises UsageError for a text without a token.
        """
        ids = continuation_ids(text, self.model.answer_ids)
        logits = [self.next_logits()[None]]
        if len(ids) > 1:
            h_td = self.model.family.run(Chunk(ids[:-1], ()), self.state.fork())
            logits.append(finite(self.model.family.logits(h_td)))
        return torch.cat(logits), ids

    def generate(self, max_new_tokens: int) -> str:
        """Greedy decoding up to a stop token or ``max_new_tokens``."""
        tokens: list[int] = []
        while len(tokens) < max_new_tokens and (not tokens or tokens[-1] not in self.model.stops):
            tokens.append(self.step())
        return self.model.text_of(tokens)

    def fork(self) -> PublishedSession:
        """An independent continuation of this session; storage is shared."""
        self._flush()
        copy = object.__new__(PublishedSession)
        copy.model, copy.state = self.model, self.state.fork()
        copy._waiting, copy._last = [], self._last
        copy._hidden, copy._time_s = self._hidden, self._time_s
        return copy

    def state_tensors(self) -> dict[str, list[Tensor]]:
        """The real tensors that the session keeps, by where they are."""
        self._flush()
        return self.state.tensors()

    def state_bytes(self) -> dict[str, int]:
        """Bytes kept, by what they represent: ``text_kv``, ``image_kv``, ``image_features``."""
        self._flush()
        return self.state.bytes_by_kind()

    def _write_text(self, text: str) -> None:
        if text:
            self._waiting.append(self.model.writer.text(text, self._last))
            self._last = "text"

    def _write_frame(self, frame: Frame, features_nd: Tensor) -> None:
        check_time(frame.time_s, self._time_s)
        stamp = self.model.stamp(frame.time_s, self._time_s)
        before, after = self.model.writer.image(stamp, self._last)
        self._waiting += [before, Image(features_nd, frame.size), after]
        self._last, self._time_s = "image", frame.time_s

    @torch.inference_mode()
    def _flush(self) -> None:
        """Run what waits, in one pass."""
        if any(isinstance(piece, Image) or len(piece) for piece in self._waiting):
            self._hidden = self.model.family.run(self._chunk(), self.state)[-1:].clone()
        self._waiting = []

    def _chunk(self) -> Chunk:
        ids: list[Tensor] = []
        images: list[Placed] = []
        count, family = 0, self.model.family
        for piece in self._waiting:
            if isinstance(piece, Image):
                rows = family.rows(piece.features)
                images.append(Placed(count, rows, piece.features, piece.size))
                piece = torch.full((rows,), family.image_id or 0, dtype=torch.long)
            ids.append(piece)
            count += len(piece)
        return Chunk(torch.cat(ids), tuple(images))
