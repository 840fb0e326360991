"""Reports without their pictures, where a test is about something else than what takes the time."""

from __future__ import annotations

import pytest

from harness.report import build
from harness.report.canvas import Drawing
from harness.report.document import Document, Figure


def leave_out_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a few bytes in the place of every picture."""

    def draw_all(whole: Document) -> dict[str, Drawing]:
        names = [block.name for block in whole.walk() if isinstance(block, Figure)]
        return {name: Drawing(png=b"png", svg=b"svg", webp=b"webp") for name in names}

    monkeypatch.setattr(build, "draw_all", draw_all)
