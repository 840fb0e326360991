"""A checkpoint's chat template as the pieces that a stream needs: what begins the user's turn, what stands
between an image and a text, and what ends the turn and asks for the answer.

A template is rendered with an image before the user's text, and with one after it; what surrounds them are
the pieces. Streams are interleaved, so every image stands where it comes, also where the class's own template
would move all images to the front.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from harness.errors import UsageError
from harness.modelfiles import read_json

if TYPE_CHECKING:
    from harness.published_models.family import Family

Last = Literal["start", "text", "image"]
"""What the stream of a session ends with; ``start`` is the head of the user's turn."""
_MARK = "\u2316\u2316"
"""Stands for the user's text while a template is rendered."""


@dataclass(frozen=True, slots=True)
class Chat:
    """Texts of one user turn: what begins it when a text or an image comes first, ``joint`` between an image
    and the text that follows it, and ``tail``, which asks for the answer."""

    text_first: str = ""
    image_first: str = ""
    joint: str = ""
    tail: str = ""


class Writer(Protocol):
    """Writes a user's turn as token ids [n] on the CPU, piece by piece."""

    def text(self, text: str, last: Last) -> Tensor:
        """A text after what the stream ends with."""

    def image(self, stamp: str, last: Last) -> tuple[Tensor, Tensor]:
        """What stands before and after an image, its time stamp included."""

    def tail(self) -> Tensor:
        """What ends the turn and asks for the answer."""

    def answer(self, text: str) -> Tensor:
        """An answer's text behind the tail."""


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """Writes a turn from a template's pieces, and what a class puts around images and between texts."""

    chat: Chat
    tokenizer: Any
    family: Family

    def text(self, text: str, last: Last) -> Tensor:
        # A text is tokenised with what stands right before it: a blank there is part of its first word.
        if last == "start":
            return self.opening(self.chat.text_first + text)
        lead = self.chat.joint if last == "image" else ""
        return self.ids(lead + self.family.joined(text, last))

    def image(self, stamp: str, last: Last) -> tuple[Tensor, Tensor]:
        head = self.ids(stamp)
        if last == "start":
            head = self.opening(self.chat.text_first + stamp if stamp else self.chat.image_first)
        before, after = self.family.around("text" if stamp else last)
        return torch.cat((head, self.ids(before))), self.ids(after)

    def tail(self) -> Tensor:
        return self.ids(self.chat.tail)

    def answer(self, text: str) -> Tensor:
        return torch.tensor(answer_ids(self.tokenizer, self.chat.tail, text), dtype=torch.long)

    def ids(self, text: str) -> Tensor:
        """Token ids [n] of a text as it stands, special tokens in it included, on the CPU."""
        return torch.tensor(self.tokenizer.encode(text, add_special_tokens=False), dtype=torch.long)

    def opening(self, text: str) -> Tensor:
        """Token ids [n] of what begins a stream, behind the start token where the tokenizer puts one."""
        start = self.tokenizer.bos_token_id
        if start is None or text.startswith(self.tokenizer.bos_token):
            return self.ids(text)
        adds = self.tokenizer.encode("", add_special_tokens=True)[:1] == [start]
        return torch.cat((torch.tensor([start] if adds else [], dtype=torch.long), self.ids(text)))


def answer_ids(tokenizer: Any, tail: str, text: str) -> list[int]:
    """Token ids of an answer, tokenised behind the text that asks for it and apart from it by a blank."""
    lead = "" if tail[-1:].isspace() else " "
    asked, answered = (
        tokenizer.encode(part, add_special_tokens=False) for part in (tail, tail + lead + text)
    )
    return list(answered[len(asked) :])


def chat_of(folder: Path, tokenizer: Any, default: Chat, placeholder: str) -> Chat:
    """The pieces of a checkpoint's template.

    ``placeholder`` is what the class's templates write for an image. Without a template: ``default``, behind
    the start token and without the special tokens that the tokenizer lacks. Raises UsageError for a template
    that cannot be used.
    """
    template = _template(folder, tokenizer)
    if template is None:
        known, start = tokenizer.get_vocab(), tokenizer.bos_token or ""
        tail = re.sub(r"<[^<>]+>", lambda found: found[0] if found[0] in known else "", default.tail)
        return replace(
            default,
            text_first=start + default.text_first,
            image_first=start + default.image_first,
            tail=tail,
        )
    before, tail = _render(tokenizer, template, folder, ("image", "text"))
    image_first, image, joint = before.partition(placeholder)
    if not image:
        raise UsageError(
            f"the chat template in {folder} writes no {placeholder} for an image; use a checkpoint with a "
            "template for images"
        )
    text_first, _ = _render(tokenizer, template, folder, ("text", "image"))
    if placeholder in text_first:
        text_first, _ = _render(tokenizer, template, folder, ("text",))
    return Chat(text_first, image_first, joint, tail)


def _template(folder: Path, tokenizer: Any) -> str | None:
    """The chat template, of the processor where it has one, else of the tokenizer."""
    for name in ("processor_config.json", "chat_template.json"):
        if (folder / name).is_file():
            found = read_json(folder / name).get("chat_template")
            if isinstance(found, str):
                return found
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    found = tokenizer.chat_template
    return found.get("default") if isinstance(found, dict) else found


def _render(tokenizer: Any, template: str, folder: Path, kinds: tuple[str, ...]) -> tuple[str, str]:
    """What stands before and after the user's text in a turn of these items."""
    items = {"image": {"type": "image"}, "text": {"type": "text", "text": _MARK}}
    turns = [{"role": "user", "content": [items[kind] for kind in kinds]}]
    try:
        text = tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except Exception as error:
        raise UsageError(
            f"the chat template in {folder} cannot be rendered ({error}); copy the checkpoint again"
        ) from error
    before, mark, after = str(text).partition(_MARK)
    if not mark:
        raise UsageError(
            f"the chat template in {folder} leaves out the user's text; use a checkpoint whose template "
            "takes a list of contents"
        )
    return before, after
