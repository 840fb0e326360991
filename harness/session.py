"""A session: a model's streaming state. Frames and text are appended as they arrive; decoding continues from
there.

Each image's keys and values are computed once, when it arrives. Appending in any chunking gives the same
logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.stream import Frame, Stream, Text, check_time

if TYPE_CHECKING:
    from harness.vlm import FusedModel


class Session:
    """Streaming state of one stream."""

    def __init__(self, model: FusedModel) -> None:
        self.model = model
        self.state = model.fusion.new_state()
        self._last: Tensor | None = None
        self._ends_with_image = False
        self._time_s: float | None = None
        self.append_spans((TextSpan(torch.tensor([model.bos])),))

    def append(self, item: Text | Frame | str) -> None:
        """Append a text span or a frame (encoded here)."""
        if isinstance(item, Text | str):
            self.append_text(item if isinstance(item, str) else item.text)
        elif not isinstance(item, Frame):
            raise UsageError(f"a session takes Text, Frame or str, not {type(item).__name__}")
        else:
            # A copy: pixels may be read-only or a flipped view, which torch does not take.
            pixels_hwc = torch.from_numpy(np.array(item.pixels, order="C"))
            features = self.model.encode(pixels_hwc[None])
            self.append_features(features[0], item.time_s, self.model.encoder.grid(*item.size))

    def append_text(self, text: str) -> None:
        self.append_spans((TextSpan(self.model.token_ids(Text(text).text)),))

    @torch.inference_mode()
    def append_stream(self, stream: Stream, features_fnd: Tensor, question: str | None = None) -> None:
        """Append a stream with its frames' features [F, N, D], and a question after it, in one pass."""
        spans = self.model.spans(stream, features_fnd)[1:]
        if question is not None:
            spans = (*spans, TextSpan(self.model.token_ids(question)))
        if spans:
            self.append_spans(spans)

    @torch.inference_mode()
    def append_features(
        self, features_nd: Tensor, time_s: float, grid: tuple[int, int] | None = None
    ) -> None:
        """Append a frame that is already encoded: [N, D], its time in seconds, its rows and columns."""
        check_time(time_s, self._time_s)
        tokens = self.model.frame_tokens(features_nd[None], [time_s])[0]
        self.append_spans((FrameSpan(tokens, time_s, grid),))

    @torch.inference_mode()
    def append_spans(self, spans: Sequence[Span]) -> None:
        """Append a chunk in one pass."""
        last = self._time_s
        for span in spans:
            if isinstance(span, FrameSpan):
                check_time(span.time_s, last)
                last = span.time_s
        h_rd, layout = self.model.fusion.run([PackedSample(tuple(spans))], self.model.decoder, self.state)
        if len(layout.rows):
            self._last = h_rd[-1:].clone()
        self._time_s = last
        for span in spans:
            if isinstance(span, FrameSpan) or len(span.ids):
                self._ends_with_image = isinstance(span, FrameSpan)

    @torch.inference_mode()
    def next_logits(self) -> Tensor:
        """Logits [V] after the last text. Raises UsageError after an image, NonFiniteError for NaN."""
        from harness.vlm import finite

        if self._last is None:
            raise UsageError("a session has no row to continue from; append text first")
        if self._ends_with_image:
            raise UsageError(
                "the stream ends with an image, and no text after it has seen it; "
                "append the question's text before asking for an answer"
            )
        return finite(self.model.decoder.logits(self._last))[0]

    def step(self) -> int:
        """Decode one token greedily, append it and return its id."""
        token = int(self.next_logits().argmax())
        self.append_spans((TextSpan(torch.tensor([token])),))
        return token

    @torch.inference_mode()
    def continuation(self, text: str) -> tuple[Tensor, Tensor]:
        """Logits [n, V] before each of the n tokens of a text that would go on here, and the tokens' ids [n].

        The session stays as it is. Raises UsageError for a text without a token.
        """
        from harness.vlm import finite

        ids = continuation_ids(text, self.model.token_ids)
        logits = [self.next_logits()[None]]
        if len(ids) > 1:
            chunk = [PackedSample((TextSpan(ids[:-1]),))]
            h_rd, _ = self.model.fusion.run(chunk, self.model.decoder, self.state.fork())
            logits.append(finite(self.model.decoder.logits(h_rd)))
        return torch.cat(logits), ids

    def generate(self, max_new_tokens: int) -> str:
        """Greedy decoding up to the end token or ``max_new_tokens``."""
        if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {max_new_tokens!r}; give a whole number of at least 1")
        tokens: list[int] = []
        while len(tokens) < max_new_tokens and (not tokens or tokens[-1] not in self.model.stops):
            tokens.append(self.step())
        return self.model.text_of(tokens)

    def fork(self) -> Session:
        """An independent continuation of this session; storage is shared."""
        copy = object.__new__(Session)
        copy.model, copy.state, copy._last = self.model, self.state.fork(), self._last
        copy._ends_with_image, copy._time_s = self._ends_with_image, self._time_s
        return copy

    def state_tensors(self) -> dict[str, list[Tensor]]:
        """The real tensors that the session keeps, by buffer."""
        return self.state.tensors()

    def state_bytes(self) -> dict[str, int]:
        """Bytes kept, by what they represent: ``text_kv``, ``image_kv``, ``gist_kv``."""
        return self.state.bytes_by_kind()


def continuation_ids(text: str, token_ids: Callable[[str], Tensor]) -> Tensor:
    """The tokens of a text as an answer, without outer blanks. Raises UsageError where it has none."""
    ids = token_ids(text.strip()) if text.strip() else torch.zeros(0, dtype=torch.long)
    if not len(ids):
        raise UsageError(f"the continuation {text!r} has no token; give a text")
    return ids
