"""Figures that others published, as tables with their source in the first lines; not measured here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Equals:
    """What of a published table has an equal here."""

    methods: dict[str, str] = field(default_factory=dict)
    """The table's models to methods, as the command line names them."""
    baseline: str | None = None
    """The model that relative changes refer to."""
    scenario: dict[str, Any] | None = None
    """Fields of a counted scenario that repeats a row's session; its frames are the row's ``turns``."""


def names() -> list[str]:
    """The tables' names."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def read(name: str) -> pd.DataFrame:
    """One table. Raises UsageError for an unknown name."""
    import pandas as pd

    _check(name)
    return pd.read_csv(_FOLDER / f"{name}.csv", comment="#")


def source(name: str) -> str:
    """Where a table comes from, in its authors' conditions. Raises UsageError for an unknown name."""
    _check(name)
    lines = (_FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def equals(name: str) -> Equals:
    """What of a table has an equal here. Raises UsageError for an unknown name."""
    _check(name)
    document = tomllib.loads((_FOLDER / "models.toml").read_text(encoding="utf-8"))
    return Equals(**document.get(name, {}))


def _check(name: str) -> None:
    if name not in names():
        raise unknown("published table", name, names())
