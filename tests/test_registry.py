"""Plugins: what breaks is named and leaves nothing behind, and nothing else is lost with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.errors import UsageError

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


def test_a_named_file_that_breaks_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "wrong.py", "import os\n\nraise ValueError('planted')")
    with pytest.raises(
        UsageError, match=r"cannot be imported: ValueError at .*wrong\.py:3: planted; mend it"
    ):
        registry.require([path])
    assert registry.require([]) == []


def test_the_line_of_a_declaration_that_is_refused_is_the_plugins_own(tmp_path: Path) -> None:
    path = write(tmp_path, "again.py", GOOD.format(name="casa"))
    (broken,) = registry.discover([path])
    assert "again.py:5: method 'casa' is registered twice" in broken.error


def test_a_file_that_another_plugin_imports_runs_once(tmp_path: Path) -> None:
    base = write(tmp_path, "planted_base.py", GOOD.format(name="base"))
    user = write(tmp_path, "planted_user.py", "import planted_base\n" + GOOD.format(name="user"))
    other = write(tmp_path, "planted_other.py", "import planted_base\n" + GOOD.format(name="other"))
    try:
        assert registry.discover([user, base, other]) == []
        assert {"base", "user", "other"} <= set(registry.methods)
        assert registry.methods.origin("base") == str(base)
    finally:
        for name in ("planted_base", "planted_user", "planted_other"):
            sys.modules.pop(name, None)


def test_a_plugin_imports_what_lies_beside_it_and_nothing_there_hides_what_is_installed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "away"
    folder.mkdir()
    write(folder, "planted_beside.py", "NAME = 'beside'")
    write(folder, "colorsys.py", "raise ValueError('planted')")
    user = write(
        folder,
        "planted_away.py",
        "import colorsys\nimport planted_beside\n"
        + GOOD.format(name="away").replace("'away'", "planted_beside.NAME"),
    )
    try:
        assert registry.discover([user]) == []
        assert registry.methods.origin("beside") == str(user)
    finally:
        for name in ("planted_beside", "planted_away"):
            sys.modules.pop(name, None)


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


class Counted:
    """A family of numbers that counts how often it makes one."""

    summary = "numbers"

    def __init__(self) -> None:
        self.made: list[str] = []

    def make(self, name: str) -> int:
        self.made.append(name)
        return int(name)

    def warm(self) -> None:
        self.made.append("warm")


@pytest.fixture
def numbers() -> tuple[registry.Registry[int], Counted]:
    known: registry.Registry[int] = registry.Registry("number")
    family = Counted()
    known.add("one", 1, "here")
    known.add_family("n", family, "here")
    return known, family


def test_a_family_makes_each_member_once_when_it_is_asked_for(
    numbers: tuple[registry.Registry[int], Counted],
) -> None:
    known, family = numbers
    assert family.made == []
    assert (known.get("n:4"), known.get("n:4"), known.get("n:5")) == (4, 4, 5)
    assert family.made == ["4", "5"]
    assert list(known) == ["one"]
    assert known.names() == ["n", "one"]
    assert known.families() == {"n": "numbers"}
    assert known.origin("n:4") == "here"
    known.warm("n")
    assert family.made == ["4", "5", "warm"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("n", "is a family of many; name one as n:NAME"),
        ("m:4", "unknown number family 'm'"),
        ("one:4", "write one:FIELD=VALUE"),
        ("two", "unknown number 'two'"),
    ],
)
def test_names_that_no_family_has(
    numbers: tuple[registry.Registry[int], Counted], name: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        numbers[0].get(name)


def test_a_family_that_a_broken_plugin_registered_is_forgotten(
    numbers: tuple[registry.Registry[int], Counted],
) -> None:
    known, _ = numbers
    known.get("n:4")
    assert known.keep(["one"]) == {"here"}
    with pytest.raises(UsageError):
        known.get("n:4")
    with pytest.raises(UsageError, match="registered twice"):
        known.add_family("one", Counted(), "there")
