"""Published vision-language checkpoints with their own fusion, run through ``transformers``.

A checkpoint is ``hub:ORG/NAME``, ``hub:ORG/NAME@REVISION`` or a local folder. It is measured as any model is:
:class:`harness.published_models.model.PublishedModel` satisfies :class:`harness.measure.subject.Subject`, as
:class:`harness.vlm.FusedModel` does. Which classes are known is in
:mod:`harness.published_models.families`; each says in its adapter what it does with images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

METHOD = "published"
"""The method of every such cell: the fusion is the checkpoint's own."""
CHECKPOINT = "checkpoint"
"""The setting of the method, in a cell's key, that holds the checkpoint's name: it tells rows apart."""
NOT_PUBLISHED = (
    f"{METHOD} is the fusion of a published vision-language checkpoint, and {{backbone}} is none; give "
    "--backbone hub:ORG/NAME or such a checkpoint's folder"
)
"""Why the method is skipped on any other backbone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedConfig:
    """How a published model is asked."""

    times: Literal["own", "text", "none"] = "own"
    """Before a frame at another time than the last one's (a stream begins at 0 s): the class's own form of a
    time stamp, nothing where it has none; ``text`` gives those ``<1.0 seconds>`` too; ``none`` gives none."""
    choices: bool = True
    """Name the possible answers after a question, since nobody trained the model on the task."""
