"""Which rows are exported: by task, method, frames, resolution, seed and outcome, or by any column."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar, get_args

from harness import settings
from harness.errors import UsageError
from harness.export.where import Row, Where, unknown_value
from harness.records import Failed, Ok, Skipped
from harness.report.labels import resolution_label
from harness.spec import check_choice, parse_ints, parse_resolutions

T = TypeVar("T")

OUTCOMES = tuple(get_args(kind.model_fields["kind"].annotation)[0] for kind in (Ok, Failed, Skipped))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Values to keep, by option; an option that is not given keeps everything."""

    task: tuple[str, ...] | None = None
    method: tuple[str, ...] | None = None
    """Registered names, which take all settings, or names with the settings that differ from the defaults."""
    frames: tuple[int, ...] | None = None
    resolution: tuple[tuple[int, int], ...] | None = None
    seed: tuple[int, ...] | None = None
    outcome: tuple[str, ...] | None = None
    where: tuple[Where, ...] = ()
    """Conditions on any column of the table."""

    @classmethod
    def parse(cls, options: Mapping[str, Sequence[str] | None]) -> Self:
        """From the command line's texts, which may be repeated and may each hold several values."""

        def taken(name: str, parse: Callable[[Sequence[str]], T]) -> T | None:
            texts = options.get(name)
            return None if texts is None else parse(texts)

        made = cls(
            task=taken("task", _words),
            method=taken("method", _words),
            frames=taken("frames", lambda texts: parse_ints("frames", texts)),
            resolution=taken("resolution", parse_resolutions),
            seed=taken("seed", lambda texts: parse_ints("seed", texts)),
            outcome=taken("outcome", _words),
            where=Where.parse(options.get("where") or ()),
        )
        for name, value in made.given().items():
            if not value:
                raise UsageError(f"--{name} is empty; give at least one value, or leave it out")
        for outcome in made.outcome or ():
            check_choice("outcome", outcome, OUTCOMES)
        return made

    def given(self) -> dict[str, tuple[object, ...]]:
        """The options that are given, with their values as a row's cells are compared."""
        values: dict[str, tuple[object, ...] | None] = {
            "task": self.task,
            "method": self.method,
            "frames": self.frames,
            "resolution": None
            if self.resolution is None
            else tuple(resolution_label(*size) for size in self.resolution),
            "seed": self.seed,
            "outcome": self.outcome,
        }
        return {name: value for name, value in values.items() if value is not None}

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that the options keep, in their order.

        Raises UsageError for an option that the rows have no column for, and for a value that none of them
        has.
        """
        kept = list(rows)
        for option, wanted in self.given().items():
            if rows and option not in rows[0]:
                raise UsageError(f"--{option} does not apply: these rows have no {option}; leave it out")
            values = [_values(row, option) for row in rows]
            known = {value for of_row in values for value in of_row}
            for value in wanted:
                if rows and option != "outcome" and value not in known:
                    raise unknown_value(option, value, known)
            kept = [row for row in kept if not _values(row, option).isdisjoint(wanted)]
        return kept

    def __str__(self) -> str:
        """As on the command line; empty where nothing is selected."""
        options = [
            (name, settings.join([str(one) for one in values], ",")) for name, values in self.given().items()
        ]
        options += [("where", str(one)) for one in self.where]
        return " ".join(f"--{name} {shlex.quote(text)}" for name, text in options)


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in settings.split(text, ",") if part.strip())


def _values(row: Row, option: str) -> set[object]:
    return {row["method"], row["method_name"]} if option == "method" else {row[option]}
