"""Choices by likelihood: how well a model expects each of the given answers to a question.

The loss of a choice is the mean over its tokens of -log p(token | stream, question, tokens before), in nats.
The stream and the question are computed once; each choice goes on from a fork of that session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.measure.subject import Subject, SubjectSession
    from harness.task import Sample

Losses = tuple[float, ...]
"""One loss per choice, in their order."""


@torch.inference_mode()
def choice_losses(model: Subject, sample: Sample, features_fnd: Tensor) -> list[Losses]:
    """The losses of each question's choices; ``features_fnd`` [F, N, D] are the sample's frames.

    A question's stream and prompt are one pass, as prefill is measured, also for a method that depends on the
    prompt. Raises NonFiniteError, and UsageError for a choice without a token.
    """
    found = []
    for question in sample.questions:
        session = model.session()
        session.append_stream(sample.stream, features_fnd, model.prompt(question))
        found.append(tuple(continuation_loss(session, choice)[0] for choice in question.choices))
    return found


@torch.inference_mode()
def continuation_loss(session: SubjectSession, text: str) -> tuple[float, bool]:
    """A text's loss where a session stands, and whether greedy decoding would give it. The session stays as
    it is."""
    logits_nv, ids_n = session.continuation(text)
    ids_n = ids_n.to(logits_nv.device)
    losses_n = torch.nn.functional.cross_entropy(logits_nv.float(), ids_n, reduction="none")
    return float(losses_n.mean()), bool((logits_nv.argmax(dim=-1) == ids_n).all())


def likeliest(losses: Sequence[float]) -> int:
    """The choice of the smallest loss; of equals the first."""
    return min(range(len(losses)), key=lambda place: losses[place])
