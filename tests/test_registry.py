"""Plugins: what breaks is named and leaves nothing behind, and nothing else is lost with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry

GOOD = """
from harness.fusion_impls.token_insertion import TokenInsertion
from harness.registry import register_method

@register_method({name!r})
class Method(TokenInsertion):
    summary = "planted"
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    registry.discover()
    known = registry.methods.names()
    monkeypatch.syspath_prepend(tmp_path)
    yield
    registry.methods.keep(known)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("end", ["raise ValueError('planted')", "import sys; sys.exit(0)", "def ("])
def test_a_plugin_that_breaks_leaves_nothing_behind(tmp_path: Path, end: str) -> None:
    path = write(tmp_path, "half.py", GOOD.format(name="half") + end)
    (broken,) = registry.discover([path])
    assert broken.source == str(path)
    assert "half" not in registry.methods


def test_a_name_that_two_plugins_take_is_answered_with_both_files(tmp_path: Path) -> None:
    first = write(tmp_path, "first.py", GOOD.format(name="taken"))
    second = write(tmp_path, "second.py", GOOD.format(name="taken"))
    (broken,) = registry.discover([first, second])
    assert f"registered twice: by {first} and by {second}; rename one" in broken.error
    assert registry.methods.origin("taken") == str(first)


def test_a_broken_plugin_does_not_take_anothers_names_along(tmp_path: Path) -> None:
    write(tmp_path, "planted_shared.py", GOOD.format(name="shared"))
    breaks = write(tmp_path, "breaks.py", "import planted_shared\nraise ValueError('planted')")
    works = write(tmp_path, "works.py", "import planted_shared")
    late = write(tmp_path, "late.py", "import planted_shared\nplanted_shared.nothing")
    try:
        broken = registry.discover([breaks, works, late])
        assert [one.source for one in broken] == [str(breaks), str(late)]
        assert registry.methods.origin("shared") == "planted_shared"
    finally:
        sys.modules.pop("planted_shared", None)
