"""From drafts and frames to a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.media.oracles import Oracles
from harness.media.questions import Draft
from harness.stream import Frame, Stream
from harness.task import Question, Sample


def make_sample(
    name: str,
    items: Sequence[Frame | str],
    drafts: Sequence[Draft],
    oracles: Oracles | None = None,
    media: Mapping[str, object] | None = None,
) -> Sample:
    """A sample that is its own group. Frame digests are added to ``media``; without media none are made."""
    questions = tuple(
        Question(
            id=f"{name}-{i:02d}",
            kind=draft.kind,
            prompt=draft.prompt,
            answer=draft.answer,
            chance=1 / draft.options,
            choices=draft.choices,
            oracles=oracles.answers(draft) if oracles else {},
        )
        for i, draft in enumerate(drafts)
    )
    stream = Stream.of(items)
    digests = {} if media is None else {"frame_digests": [frame.digest for frame in stream.frames]}
    return Sample(id=name, stream=stream, questions=questions, group=name, media={**(media or {}), **digests})
