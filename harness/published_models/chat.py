"""A checkpoint's chat template as the pieces that a stream needs: what begins the user's turn, what stands
around its items, and what ends it and asks for the answer.

A template is rendered twice, with a text alone and with an image before the text; where the two part, and
what they end with, gives the pieces. Streams are interleaved, so every image stands where it comes, also
where the class's own template would move all images to the front.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.modelfiles import read_json

_MARK = "\u2316\u2316"
"""Stands for the user's text while a template is rendered."""


@dataclass(frozen=True, slots=True)
class Chat:
    """Texts of one user turn: ``head``, then ``lead`` if a text comes first, ``joint`` between an image and
    the text that follows it, and ``tail``."""

    head: str = ""
    lead: str = ""
    joint: str = ""
    tail: str = ""


def chat_of(folder: Path, tokenizer: Any, default: Chat, after_image: str) -> Chat:
    """The pieces of a checkpoint's template.

    ``after_image`` is what the adapter writes after an image itself. Without a template: ``default``, behind
    the start token and without the special tokens that the tokenizer lacks. Raises UsageError for a template
    that cannot be rendered.
    """
    template = _template(folder, tokenizer)
    if template is None:
        known = tokenizer.get_vocab()
        tail = re.sub(r"<[^<>]+>", lambda found: found[0] if found[0] in known else "", default.tail)
        return replace(default, head=(tokenizer.bos_token or "") + default.head, tail=tail)
    alone, tail = _render(tokenizer, template, folder, with_image=False)
    behind, _ = _render(tokenizer, template, folder, with_image=True)
    head = _shared(alone, behind)
    return Chat(head, alone[len(head) :], _joint(behind[len(head) :], after_image), tail)


def _shared(one: str, other: str) -> str:
    """The beginning that two texts share."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in same)


def _joint(text: str, after: str) -> str:
    """What stands between an image and a text, of all that the template writes for an image."""
    _, closing, rest = text.rpartition(after) if after else ("", "", "")
    if closing:
        return rest
    return text.rpartition(">")[2]


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


def _render(tokenizer: Any, template: str, folder: Path, *, with_image: bool) -> tuple[str, str]:
    """What stands before and after the user's text."""
    content = [*([{"type": "image"}] if with_image else []), {"type": "text", "text": _MARK}]
    turns = [{"role": "user", "content": content}]
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
