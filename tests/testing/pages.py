"""A guide's blocks, and its commands run as a reader would."""

from __future__ import annotations

import re
from pathlib import Path

from tests.shell import shell

ROOT = Path(__file__).parents[2]
LEAST = {"STEPS": "1", "LIMIT": "1"}
"""What a page's commands take instead of their own numbers."""


class Page:
    """A page of the documentation: its fenced blocks in their order."""

    def __init__(self, name: str) -> None:
        text = (ROOT / "docs" / name).read_text()
        self.blocks: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)

    def of(self, language: str) -> list[str]:
        return [text for name, text in self.blocks if name == language]


def printed(commands: str, folder: Path) -> str:
    """What commands print; fails with all of it where one fails."""
    done = shell(commands, folder, PYTHONDONTWRITEBYTECODE="1", **LEAST)
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout
