"""Leaving out the slow part of a report where a test is about something else."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from harness.report import build
from harness.report.canvas import Drawing
from harness.report.document import Document, Figure
from harness.report.render.drawing import Drawers, Drawn


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Let every figure have a picture that none draws."""

    patch.setattr(build, "Drawers", Undrawn)


class Undrawn(Drawers):
    """Starts no process and draws nothing."""

    def __init__(self) -> None:
        """Nothing to start."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def begin(self, whole: Document) -> dict[str, Future[Drawn]]:
        """The same picture for every figure."""
        drawings: dict[str, Future[Drawn]] = {}
        for block in whole.walk():
            if isinstance(block, Figure):
                drawings[block.name] = Future()
                drawings[block.name].set_result(Drawing(png=b"png", svg=b"svg", webp=b"webp"))
        return drawings
