"""Figures that others published, as tables with their source in the first lines; not measured here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The tables' names."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def read(name: str) -> pd.DataFrame:
    """One table. Raises UsageError for an unknown name."""
    import pandas as pd

    if name not in names():
        raise unknown("published table", name, names())
    return pd.read_csv(_FOLDER / f"{name}.csv", comment="#")


def source(name: str) -> str:
    """Where a table comes from, in its authors' conditions."""
    if name not in names():
        raise unknown("published table", name, names())
    lines = (_FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
