"""A fused model: vision encoder (frozen) → connector → decoder blocks as the fusion method runs them → head.

Shapes: F frames, H W pixels, N tokens per frame, D encoder width, d model width, R rows, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from harness.backbones.decoder import Decoder
from harness.connector import Connector
from harness.encoders.base import Encoder
from harness.errors import HarnessError, UsageError
from harness.fusion import FusionMethod
from harness.layout import FrameSpan, PackedSample, Rows, Span, TextSpan
from harness.session import Session
from harness.stream import Frame, Stream
from harness.task import Question, Sample
from harness.tokenizer import SpecialTokens, decoded, separator, special_of

MAX_ROWS_PER_BATCH = 8192


class NonFiniteError(HarnessError):
    """The model's logits are not numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRange:
    """What a model was trained on; anything outside is extrapolation."""

    tasks: tuple[str, ...]
    max_frames: int
    heights: tuple[int, ...]
    widths: tuple[int, ...]


class FusedModel(nn.Module):
    """One backbone, one encoder and one fusion method.

    ``bos`` begins every stream and ``stops`` end an answer; ``eos`` is the stop token that training teaches.
    """

    not_streamed: str | None = None
    """Every method goes on from any chunk."""

    def __init__(
        self,
        decoder: Decoder,
        encoder: Encoder,
        fusion: FusionMethod,
        tokenizer: Tokenizer,
        trained_on: TrainedRange | None = None,
        special: SpecialTokens | None = None,
    ) -> None:
        super().__init__()
        self.decoder, self.fusion = decoder, fusion
        self.encoder: Encoder = encoder.requires_grad_(False)
        self.connector = Connector(encoder.width, decoder.width)
        self.tokenizer, self.trained_on = tokenizer, trained_on
        self._separator = separator(tokenizer)
        special = special if special is not None else special_of(tokenizer)
        self.bos, self.eos, self.stops = special.start, special.stops[0], frozenset(special.stops)

    @property
    def device(self) -> torch.device:
        return self.decoder.embed.weight.device

    @property
    def encoder_digest(self) -> str:
        return self.encoder.digest

    def parameter_count(self) -> int:
        """Trained parameters: decoder, connector and fusion; the shared frozen encoder is left out."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @torch.no_grad()
    def encode(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → features [F, N, D]."""
        return cast("Tensor", self.encoder(pixels_fhwc.to(self.device)))

    def token_ids(self, text: str) -> Tensor:
        """Token ids [n] of a text that stands apart from what is before it, on the CPU."""
        ids = self.tokenizer.encode(self._separator + text, add_special_tokens=False).ids
        return torch.tensor(ids, dtype=torch.long)

    def text_of(self, ids: Iterable[int]) -> str:
        """Tokens as text, up to the end token."""
        return decoded(self.tokenizer, list(itertools.takewhile(lambda token: token not in self.stops, ids)))

    def spans(self, stream: Stream, features_fnd: Tensor) -> tuple[Span, ...]:
        """A stream and its frames' features as spans, begun by the start token."""
        frames = stream.frames
        if len(frames) != len(features_fnd):
            raise UsageError(f"a stream with {len(frames)} frames came with features of {len(features_fnd)}")
        spans: list[Span] = [TextSpan(torch.tensor([self.bos]))]
        tokens = self.frame_tokens(features_fnd, [frame.time_s for frame in frames]) if frames else ()
        following = iter(zip(tokens, frames, strict=True))
        for item in stream:
            if isinstance(item, Frame):
                token, frame = next(following)
                spans.append(FrameSpan(token, frame.time_s, self.encoder.grid(*frame.size)))
            else:
                spans.append(TextSpan(self.token_ids(item.text)))
        return tuple(spans)

    def frame_tokens(self, features_fnd: Tensor, times_s: list[float]) -> Tensor:
        """Features [F, N, D] and F times → tokens [F, N, d]. Raises UsageError for another width D."""
        if not isinstance(features_fnd, Tensor):
            raise UsageError(f"features are of type {type(features_fnd).__name__}; give a torch tensor")
        if features_fnd.dim() != 3 or features_fnd.shape[2] != self.encoder.width:
            raise UsageError(
                f"features came with shape {list(features_fnd.shape)}, but this model's encoder, "
                f"{self.encoder.name}, gives [frames, tokens, {self.encoder.width}]; use it to encode them"
            )
        return cast("Tensor", self.connector(features_fnd.to(self.connector.project.weight), times_s))

    def prompt(self, question: Question) -> str:
        """A question as it is asked: as the task words it."""
        return question.prompt

    def session(self) -> Session:
        """A streaming session that starts with nothing but the start token."""
        return Session(self)

    @torch.inference_mode()
    def answer(
        self, samples: Sequence[Sample], features: Iterable[Tensor], max_new_tokens: int = 1
    ) -> list[list[str]]:
        """Greedy answers, per sample and question; each question sees its stream and itself only.

        ``features`` holds [F, N, D] per sample. One-token answers run packed over samples; longer ones
        decode in a session per sample whose prefix is shared by its questions; where the method depends on
        the prompt, all decode in a session per question, with stream and question as one chunk. A tokenizer
        that splits words gets as many tokens as the longest choice or answer takes, unless a question says
        itself how many. Raises NonFiniteError.
        """
        questions = [question for sample in samples for question in sample.questions]
        max_new_tokens = max(max_new_tokens, self._longest_answer(questions))
        longest = max((question.max_new_tokens or max_new_tokens for question in questions), default=1)
        if longest > 1 or self.fusion.prompt_dependent:
            return [
                self._generate(sample, feature, max_new_tokens)
                for sample, feature in zip(samples, features, strict=True)
            ]
        answers: list[list[str]] = []
        packed = [
            PackedSample(
                self.spans(sample.stream, feature),
                tuple(TextSpan(self.token_ids(question.prompt)) for question in sample.questions),
            )
            for sample, feature in zip(samples, features, strict=True)
        ]
        for batch in _batches(packed):
            answers.extend(self._first_tokens(batch))
        return answers

    def _longest_answer(self, questions: Sequence[Question]) -> int:
        """Tokens of the longest possible answer where a word may be several tokens, else 0."""
        if self.tokenizer.decoder is None:
            return 0
        open_ended = [question for question in questions if question.max_new_tokens is None]
        texts = {text for question in open_ended for text in (question.answer, *question.choices)}
        return max((len(self.token_ids(text)) for text in texts), default=0)

    def _first_tokens(self, batch: Sequence[PackedSample]) -> list[list[str]]:
        h_rd, layout = self.fusion.run(batch, self.decoder)
        last = _last_rows(layout.rows)
        logits = finite(self.decoder.logits(h_rd[torch.tensor(last, dtype=torch.long, device=h_rd.device)]))
        tokens = iter(logits.argmax(dim=-1).tolist())
        return [[self.text_of([next(tokens)]) for _ in sample.branches] for sample in batch]

    def _generate(self, sample: Sample, features_fnd: Tensor, max_new_tokens: int) -> list[str]:
        prefix, stream = self.session(), self.spans(sample.stream, features_fnd)[1:]
        if not self.fusion.prompt_dependent:
            prefix.append_spans(stream)
            stream = ()
        answers = []
        for question in sample.questions:
            session = prefix.fork()
            session.append_spans((*stream, TextSpan(self.token_ids(question.prompt))))
            answers.append(session.generate(question.max_new_tokens or max_new_tokens))
        return answers


def finite(logits: Tensor) -> Tensor:
    """The logits, or NonFiniteError. Logits without storage have no values to be wrong."""
    all_finite = torch.isfinite(logits).all()
    if not logits.is_meta and not bool(all_finite):
        raise NonFiniteError(
            "the model's logits contain NaN or infinite values; its weights or inputs are broken"
        )
    return logits


def _last_rows(rows: Rows) -> list[int]:
    """The last row of every branch, in order."""
    place = list(zip(rows.sample.tolist(), rows.branch.tolist(), strict=True))
    return [
        i for i, here in enumerate(place) if here[1] > 0 and (i + 1 == len(place) or place[i + 1] != here)
    ]


def _batches(samples: Sequence[PackedSample]) -> Iterable[list[PackedSample]]:
    batch: list[PackedSample] = []
    rows = 0
    for sample in samples:
        size = sum(
            len(span.ids) if isinstance(span, TextSpan) else len(span.tokens)
            for span in (*sample.prefix, *sample.branches)
        )
        if batch and rows + size > MAX_ROWS_PER_BATCH:
            yield batch
            batch, rows = [], 0
        batch.append(sample)
        rows += size
    if batch:
        yield batch
