"""A user's turn as the processor of a CASA checkpoint writes it, in the pieces that a stream needs.

The processor joins token ids of texts and of what stands around them. A turn with an image and a text is
written twice, with other words; what stays the same are the pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.published_models.chat import Last, answer_ids
from harness.published_models.own_code import other_commit

_WORDS = ("red", "which colour is it")
Content = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Turn:
    """The pieces, as token ids; ``before`` and ``after`` stand around every image."""

    tokenizer: Any
    text_first: tuple[int, ...]
    image_first: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    joint: tuple[int, ...]
    """Between an image's last token and a text."""
    end: tuple[int, ...]

    def text(self, text: str, last: Last) -> Tensor:
        lead = {"start": self.text_first, "image": self.joint, "text": ()}[last]
        return _ids(lead, self._encoded("\n" + text if last == "text" else text))

    def image(self, stamp: str, last: Last) -> tuple[Tensor, Tensor]:
        stamped = self._encoded(stamp) if stamp else []
        if last == "start":
            lead = self.text_first if stamp else self.image_first
        else:
            lead = self.joint if stamp and last == "image" else ()
        return _ids(lead, stamped, self.before), _ids(self.after)

    def tail(self) -> Tensor:
        return _ids(self.end)

    def answer(self, text: str) -> Tensor:
        return _ids(answer_ids(self.tokenizer, self.tokenizer.decode(list(self.end)), text))

    def image_alone(self) -> tuple[Tensor, int]:
        """A turn that holds an image and nothing else, and the place of the image."""
        before, after = self.image("", "start")
        return torch.cat((before, after)), len(before)

    def _encoded(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def turn_of(processor: Any, system: Content) -> Turn:
    """The pieces of a checkpoint's turn; raises UsageError where its processor joins them in another way."""
    found = {_read(processor, system, words) for words in _WORDS}
    if len(found) != 1:
        raise other_commit("its processor writes a turn differently for different texts")
    return Turn(processor.tokenizer, *found.pop())


def _read(processor: Any, system: Content, words: str) -> tuple[tuple[int, ...], ...]:
    image, text = {"type": "image", "image": None}, {"type": "text", "text": words}
    encoded = list(processor.tokenizer.encode(words, add_special_tokens=False))
    ids, points = tokenized(processor, [*system, {"role": "user", "content": [image, text]}])
    start = _find(ids, encoded, words)
    around = [*processor.pre_image_tokens, *processor.post_image_tokens]
    if len(points) != 1 or not points[0] <= start:
        raise other_commit(f"its processor puts one image at {points}, where one place is needed")
    (point,) = points
    lead = next((n for n in range(len(around) + 1) if _is_at(ids, point - n, around)), None)
    if lead is None:
        raise other_commit(f"its processor does not put the tokens {around} around an image")
    first, last = point - lead, point - lead + len(around)
    text_ids, _ = tokenized(processor, [*system, {"role": "user", "content": [text, image]}])
    opening = text_ids[: _find(text_ids, encoded, words)]
    pieces = (
        opening,
        ids[:first],
        ids[first:point],
        ids[point:last],
        ids[last:start],
        ids[start + len(encoded) :],
    )
    return tuple(tuple(piece) for piece in pieces)


def tokenized(processor: Any, messages: Content) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the places of its images among them."""
    made = processor.tokenize_messages(messages)
    points = made.get("image_embeds_insertion_points")
    places = [] if points is None else torch.as_tensor(points[0]).flatten().tolist()
    return made["input_ids"][0].tolist(), [int(place) for place in places]


def _find(ids: list[int], part: list[int], words: str) -> int:
    for start in range(len(ids) - len(part) + 1):
        if _is_at(ids, start, part):
            return start
    raise other_commit(f"its processor does not write {words!r} as its tokenizer does")


def _is_at(ids: list[int], start: int, part: list[int]) -> bool:
    return start >= 0 and ids[start : start + len(part)] == part


def _ids(*parts: Sequence[int]) -> Tensor:
    return torch.tensor([token for part in parts for token in part], dtype=torch.long)
