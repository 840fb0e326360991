"""``questions.jsonl``: one JSON object per line, checked line by line."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError

FILE_NAME = "questions.jsonl"
MAX_CHOICES = 26


class Line(BaseModel):
    """One question. ``media`` is a video, an image, or a list of images, relative to the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    media: str | list[str] = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    choices: list[str] = []
    kind: str = Field(default="question", min_length=1)
    id: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Line:
        if self.choices and self.answer not in self.choices:
            raise ValueError(f"answer {self.answer!r} is not one of the choices")
        if len(set(self.choices)) < len(self.choices) or len(self.choices) > MAX_CHOICES:
            raise ValueError(f"choices must be different and at most {MAX_CHOICES}")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        return (self.media,) if isinstance(self.media, str) else tuple(self.media)


def read_questions(folder: Path) -> list[Line]:
    """The lines of a folder's question file, each with an id. Raises UsageError that names the line."""
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise UsageError(f"path={str(folder)!r} is not a folder; give one that holds {FILE_NAME}")
    if path.exists() and not path.is_file():  # A pipe would be waited for.
        raise UsageError(f"{path} is not a file; it must be UTF-8 text with one JSON object per line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); it must be UTF-8 text with one JSON object per line"
        ) from error
    lines: dict[str, Line] = {}
    for number, row in enumerate(text.split("\n"), start=1):
        if row.strip():
            line = _parse(path, number, row)
            if line.id in lines:
                raise UsageError(f"{path}, line {number}: id {line.id!r} is used twice; make it different")
            lines[line.id] = line
    if not lines:
        raise UsageError(
            f'{path} has no question; add lines like {{"media": ..., "question": ..., "answer": ...}}'
        )
    return list(lines.values())


def _parse(path: Path, number: int, row: str) -> Line:
    try:
        value = json.loads(row)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}); write one object per line"
        ) from error
    try:
        line = Line.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "str")))
        raise UsageError(
            f"{path}, line {number}: {where or 'the object'}: {first['msg']}; fields are media, question, "
            "answer, and if wanted choices, kind, id"
        ) from error
    return line if line.id else line.model_copy(update={"id": f"line-{number}"})
