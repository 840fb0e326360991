"""Your own videos or images: a folder with media files and ``questions.jsonl``.

One JSON object per line:

    {"media": "clip.mp4", "question": "what colour is the car ?", "answer": "red"}
    {"media": ["a.png", "b.jpg"], "question": "which is older ?", "answer": "a", "choices": ["a", "b"],
     "kind": "age", "id": "q2"}

``media`` is a video, an image or a list of images, relative to the folder. With ``choices`` the prompt lists
them by letter, and the letter or the text counts as an answer. ``kind`` (default "question") groups scores;
``id`` (default the line's number) names the question.

A video's frames are drawn one from each of equal parts of it, seeded; where fewer exist than are asked for,
each is shown once. Image i of a list stands at i seconds. Nothing but frames enters the stream. A file that
cannot be read does not stop the run: its sample has no frames and ``media["error"]``, and its questions count
as errors.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.errors import MediaError, UsageError
from harness.media.questionfile import Line, read_questions
from harness.media.userfiles import IMAGE_SUFFIXES, USER_SAMPLER, Shown, read_images, read_video
from harness.registry import register_task
from harness.stream import Stream
from harness.task import Kind, Question, Sample, SamplesOnDemand, Score, Task, TaskConfig, View

_LETTERS = string.ascii_uppercase
_LETTER = re.compile(r"\(?([a-z])\)?(?=$|[\s.:,)])", re.IGNORECASE)
_ARTICLES = {"a", "an", "the"}


@register_task("folder")
class Folder(Task):
    """A view's ``frames`` and size apply to every medium; ``limit`` takes the first media."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config(TaskConfig):
        """``path`` of the folder that holds ``questions.jsonl``."""

        path: str = ""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "your own videos or images with questions in a JSONL file"
    licence: ClassVar[str] = "yours"
    source: ClassVar[str] = "the folder given by path"
    kinds: ClassVar[Mapping[str, Kind]] = {}
    max_new_tokens: ClassVar[int] = 16

    config: Config

    def check_view(self, view: View) -> None:
        """The question file must be as it should be."""
        self._lines()

    def _lines(self) -> list[Line]:
        if not self.config.path:
            raise UsageError("task folder has no path; set it to a folder: --task folder:path=DIR")
        return read_questions(Path(self.config.path))

    def samples(self, view: View) -> Sequence[Sample]:
        """One sample per medium, with all of its questions, in the order of the file."""
        if view.frames < 1:
            raise UsageError(f"{view.frames} frames are asked for; ask for 1 or more")
        folder = Path(self.config.path)
        media: dict[tuple[str, ...], list[Line]] = {}
        for line in self._lines():
            media.setdefault(line.files, []).append(line)
        chosen = list(media.items())[: view.limit]
        return SamplesOnDemand(len(chosen), lambda place: _sample(folder, *chosen[place], view))

    def score(self, prediction: str, question: Question) -> Score:
        """Equal without regard to case, punctuation and articles; with choices, the letter or the text."""
        if question.choices:
            picked = _picked(prediction, question.choices)
            if picked is None:
                return Score(status="unparsed")
            return Score(status="scored", value=float(picked == question.answer))
        given = _plain(prediction)
        if not given:
            return Score(status="unparsed")
        return Score(status="scored", value=float(given == _plain(question.answer)))


def _plain(text: str) -> str:
    words = text.lower().translate(str.maketrans("", "", string.punctuation)).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def _picked(prediction: str, choices: Sequence[str]) -> str | None:
    """The choice that an answer names, by its text or else by a letter at its start."""
    plain = _plain(prediction)
    for choice in choices:
        if plain and plain == _plain(choice):
            return choice
    match = _LETTER.match(prediction.strip())
    place = _LETTERS.index(match.group(1).upper()) if match else len(choices)
    return choices[place] if place < len(choices) else None


def _prompt(line: Line) -> str:
    listed = [f"{letter}: {choice}" for letter, choice in zip(_LETTERS, line.choices, strict=False)]
    return " ".join([line.question, *listed])


def _sample(folder: Path, files: tuple[str, ...], lines: Sequence[Line], view: View) -> Sample:
    name = " ".join(files)
    questions = tuple(
        Question(
            id=line.id,
            kind=line.kind,
            prompt=_prompt(line),
            answer=line.answer,
            chance=1 / len(line.choices) if line.choices else None,
            choices=tuple(line.choices),
        )
        for line in lines
    )
    media: dict[str, object] = {"files": list(files), "frames_asked": view.frames}
    try:
        paths = [folder / file for file in files]
        shown = _read(paths, lines[0], view)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    except (MediaError, OSError) as error:
        media["error"] = str(error)
        return Sample(id=name, stream=Stream(()), questions=questions, group=name, media=media)
    media |= {
        "sha256": digests,
        "sampler": USER_SAMPLER,
        "sampler_seed": view.seed,
        "frames": list(shown.indices),
        "frames_shown": len(shown.frames),
        "frames_available": shown.available,
        "seconds": [frame.time_s for frame in shown.frames],
        "frame_digests": [frame.digest for frame in shown.frames],
    }
    if shown.note:
        media["note"] = shown.note
    return Sample(id=name, stream=Stream(shown.frames), questions=questions, group=name, media=media)


def _read(paths: list[Path], line: Line, view: View) -> Shown:
    key = hashlib.sha256(" ".join(line.files).encode()).digest()
    rng = np.random.default_rng([int.from_bytes(key[:8], "big"), view.seed, view.frames])
    if len(paths) == 1 and paths[0].suffix.lower() not in IMAGE_SUFFIXES:
        return read_video(paths[0], view.frames, view.height, view.width, rng)
    return read_images(paths, view.frames, view.height, view.width, rng)
