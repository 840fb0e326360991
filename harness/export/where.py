"""Conditions on a table's columns: which rows have one of the given values."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness import settings
from harness.errors import UsageError, unknown
from harness.export.columns import Columns, DType, column

Row = Mapping[str, object]

MOST_LISTED = 20
"""Numbers that an error lists of those that a column has."""
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the rows whose ``column`` has one of ``values``, in their texts; an empty one is no data."""

    column: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> tuple[Self, ...]:
        """From ``COLUMN=VALUE[,VALUE]`` texts; the values of a column that is named again add up.

        Raises UsageError for a text of another form.
        """
        found: dict[str, list[str]] = {}
        for text in texts:
            name, equals, values = text.partition("=")
            if not equals or not name.strip():
                raise UsageError(f"--where {text!r} is no condition; give COLUMN=VALUE[,VALUE]")
            found.setdefault(name.strip(), []).extend(one.strip() for one in settings.split(values, ","))
        return tuple(cls(name, tuple(values)) for name, values in found.items())

    def keeps(self, table: Columns, every: Sequence[Row]) -> Callable[[Row], bool]:
        """Whether a row has one of the values.

        Raises UsageError for a column that the table does not have, and for a value that is not of the
        column's type or that none of the rows ``every`` has.
        """
        dtype = column(table, self.column).dtype
        wanted = {_typed(self.column, text, dtype) for text in self.values}
        present = {plain(row.get(self.column)) for row in every}
        for value in wanted:
            if every and value not in present:
                raise unknown_value(self.column, value, present)
        return lambda row: plain(row.get(self.column)) in wanted

    def __str__(self) -> str:
        """As on the command line, unquoted."""
        return f"{self.column}={settings.join(self.values, ',')}"


def plain(value: object) -> object:
    """No data as None, also where frames have it as NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _typed(name: str, text: str, dtype: DType) -> object:
    if not text:
        return None
    try:
        match dtype:
            case "Int64":
                return int(text)
            case "Float64":
                return float(text)
            case "boolean":
                return _BOOLEANS[text.lower()]
            case "string":
                return text
    except (KeyError, ValueError):
        rule = {"Int64": "a whole number", "Float64": "a number", "boolean": "true or false"}[dtype]
        raise UsageError(
            f"{name} {text!r} is not {rule}; give one, or nothing for rows without data"
        ) from None


def unknown_value(name: str, value: object, known: Collection[object]) -> UsageError:
    """The error for a value that no row has, with the near matches, or the numbers that there are."""
    if value is None:
        return UsageError(f"{name} has data in every row; give a value that it has")
    numbers = sorted(one for one in known if isinstance(one, int | float))
    if not numbers:
        return unknown(name, str(value), (str(one) for one in known if one is not None))
    listed = ", ".join(map(str, numbers[:MOST_LISTED]))
    more = f" and {len(numbers) - MOST_LISTED} more" if len(numbers) > MOST_LISTED else ""
    return UsageError(f"unknown {name} {value}: the records have {listed}{more}")
