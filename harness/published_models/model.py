"""A published model as measurement sees it: encode, answer, and sessions; everything else is its class's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.published_models import PublishedConfig
from harness.published_models.chat import Chat
from harness.published_models.family import Family
from harness.published_models.session import PublishedSession
from harness.stream import Stream
from harness.task import Question, Sample

TEXT_STAMP = "<{seconds:.1f} seconds>"
"""Before a frame of a class without a form of its own, where ``times=text`` asks for one."""


class PublishedModel(nn.Module):
    """A loaded checkpoint with its adapter, its chat template and its tokenizer.

    ``digest`` names the checkpoint's weights and so its vision encoder; ``stops`` end an answer.
    """

    trained_on = None

    def __init__(
        self,
        family: Family,
        chat: Chat,
        tokenizer: Any,
        stops: frozenset[int],
        digest: str,
        config: PublishedConfig | None = None,
    ) -> None:
        super().__init__()
        self.net: nn.Module = family.net.requires_grad_(False)
        self.family, self.chat, self.tokenizer, self.stops = family, chat, tokenizer, stops
        self.writer = family.writer(chat, tokenizer)
        self.encoder_digest = digest
        self.config = config if config is not None else PublishedConfig()

    @property
    def not_streamed(self) -> str | None:
        """Why frames cannot be appended one by one, or None."""
        return self.family.not_streamed

    def parameter_count(self) -> int:
        """All parameters of the checkpoint, its vision encoder included."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @torch.inference_mode()
    def encode(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → features [F, N, D]: image processor, vision tower and projector."""
        return self.family.encode(list(pixels_fhwc.cpu().numpy().astype(np.uint8, copy=False)))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text as it stands."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def answer_ids(self, text: str) -> Tensor:
        """Token ids [n] of an answer to a question, on the CPU."""
        return self.writer.answer(text)

    def text_of(self, ids: Iterable[int]) -> str:
        """Tokens as text up to a stop token, without the blanks and the full stop that chat models add."""
        kept = list(itertools.takewhile(lambda token: token not in self.stops, ids))
        text = str(self.tokenizer.decode(kept, skip_special_tokens=True)).strip()
        return text.removesuffix(".").strip()

    def stamp(self, time_s: float, before_s: float | None) -> str:
        """The text before a frame at a time; nothing where time has not moved (a stream begins at 0 s)."""
        form = self.family.stamp
        if form is None and self.config.times == "text":
            form = TEXT_STAMP
        if form is None or self.config.times == "none" or time_s == (before_s or 0.0):
            return ""
        return form.format(seconds=time_s, minutes=int(time_s // 60), rest=int(time_s % 60))

    def prompt(self, question: Question) -> str:
        """A question as it is asked: with the answers to choose from, or with how to answer. Where choices
        are compared by likelihood it is as the task words it."""
        if question.by_likelihood or not self.config.choices:
            return question.prompt
        if question.choices:
            return f"{question.prompt}\nAnswer with one of: {', '.join(question.choices)}."
        return f"{question.prompt}\nAnswer with a single word or number."

    def session(self) -> PublishedSession:
        """A streaming session that holds nothing yet."""
        return PublishedSession(self)

    @torch.inference_mode()
    def answer(
        self, samples: Sequence[Sample], features: Iterable[Tensor], max_new_tokens: int = 1
    ) -> list[list[str]]:
        """Greedy answers, per sample and question; each question sees its stream and itself only.

        ``features`` holds [F, N, D] per sample. An answer may take as many tokens as the longest choice or
        true answer does. Raises NonFiniteError.
        """
        longest = max(max_new_tokens, self._longest_answer(samples))
        nothing = Stream(())
        answers = []
        for sample, feature in zip(samples, features, strict=True):
            watched = self.session()
            watched.append_stream(sample.stream, feature)
            given = []
            for question in sample.questions:
                session = watched.fork()
                session.append_stream(nothing, feature[:0], self.prompt(question))
                given.append(session.generate(longest))
            answers.append(given)
        return answers

    def _longest_answer(self, samples: Sequence[Sample]) -> int:
        questions = [question for sample in samples for question in sample.questions]
        texts = {text for question in questions for text in (question.answer, *question.choices)}
        return max((len(self.ids(text)) for text in texts), default=0)
