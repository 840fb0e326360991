"""What memory, latency and FLOPs are measured on: one sample's stream and one question, batch 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import MediaError, UsageError
from harness.measure.accuracy import media_error
from harness.stream import Frame, Stream
from harness.task import Sample

if TYPE_CHECKING:
    from harness.measure.subject import Subject, SubjectSession


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model, a stream, its encoded frames [F, N, D] on the model's device, and a question as asked."""

    model: Subject
    stream: Stream
    features: Tensor
    question: str

    def prefill(self, session: SubjectSession) -> Tensor:
        """All of the stream and the question in one pass through a fresh session: the first token's logits
        [V].

        What the model does with its encoder's output (connector, tokenising of the text, the fusion's layout)
        is part of it; the vision encoder is not.
        """
        session.append_stream(self.stream, self.features, self.question)
        return session.next_logits()

    def watched(self) -> SubjectSession:
        """A session that holds the whole stream and no question: what is kept while frames arrive."""
        return self._holding(self.stream, self.features)

    def before_last_frame(self) -> SubjectSession:
        """A session that holds everything before the last frame."""
        items = self.stream.items
        last = max(index for index, item in enumerate(items) if isinstance(item, Frame))
        return self._holding(Stream(items[:last]), self.features[:-1])

    def append_last_frame(self, session: SubjectSession) -> None:
        session.append_stream(Stream(self.stream.frames[-1:]), self.features[-1:])

    def asked(self) -> SubjectSession:
        """A session that holds the stream and the question: decoding goes on from here."""
        session = self.watched()
        session.append_stream(Stream(()), self.features[:0], self.question)
        return session

    def _holding(self, stream: Stream, features: Tensor) -> SubjectSession:
        session = self.model.session()
        session.append_stream(stream, features)
        return session


def pick_sample(task: str, samples: Sequence[Sample]) -> Sample:
    """The first of the samples with the most frames that has a question; the same for every method.

    Raises MediaError when no medium could be read, UsageError when no sample has both frames and a question.
    """
    usable = [sample for sample in samples if sample.questions and sample.stream.frames]
    if usable:
        return max(usable, key=lambda sample: len(sample.stream.frames))
    errors = [error for sample in samples if (error := media_error(sample))]
    if errors:
        raise MediaError(
            f"task {task!r}: none of {len(samples)} samples could be read; the first: {errors[0]}"
        )
    raise UsageError(f"task {task!r} has no sample with both frames and a question; a cell needs one")


def synchronize(device: torch.device) -> None:
    """Wait for queued kernels, where there are any."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
