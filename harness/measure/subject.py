"""What measurement asks of a model: two protocols that a fused model and a published one satisfy alike.

Shapes: F frames, H W pixels, N tokens per frame, D width of a frame's features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from torch import Tensor, nn

from harness.stream import Stream
from harness.task import Question, Sample

if TYPE_CHECKING:
    from harness.vlm import TrainedRange


class SubjectSession(Protocol):
    """The streaming state of a model: a stream's frames and text, and an answer that is decoded."""

    def append_stream(self, stream: Stream, features_fnd: Tensor, question: str | None = None) -> None:
        """Append items with their frames' features, and a question at the end, in one pass."""

    def next_logits(self) -> Tensor:
        """Logits [V] of the next token."""

    def step(self) -> int:
        """Decode one token greedily and append it."""

    def continuation(self, text: str) -> tuple[Tensor, Tensor]:
        """Logits [n, V] before each of the n tokens of a text that would go on here, and the tokens' ids [n];
        the session stays as it is."""

    def fork(self) -> Self:
        """An independent continuation."""

    def state_tensors(self) -> dict[str, list[Tensor]]:
        """The real tensors that the session keeps."""

    def state_bytes(self) -> dict[str, int]:
        """Bytes kept, by what they represent."""


class Subject(Protocol):
    """A model under measurement."""

    @property
    def encoder_digest(self) -> str:
        """Names everything that features follow from besides pixels, for the cache of encoded frames."""

    @property
    def trained_on(self) -> TrainedRange | None:
        """What it was trained on among the tasks here; None where that is not known."""

    @property
    def not_streamed(self) -> str | None:
        """Why frames cannot be appended to a session that has computed some; None: they can."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def parameter_count(self) -> int:
        """The parameters that are reported."""

    def encode(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → features [F, N, D]."""

    def prompt(self, question: Question) -> str:
        """A question as it is asked."""

    def session(self) -> SubjectSession:
        """A session that holds nothing but what begins every stream."""

    def answer(
        self, samples: Sequence[Sample], features: Iterable[Tensor], max_new_tokens: int = 1
    ) -> list[list[str]]:
        """Greedy answers, per sample and question; ``features`` holds [F, N, D] per sample."""
