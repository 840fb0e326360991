"""What can be answered without looking: majority tables over fresh training questions, from states alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Asked(Protocol):
    """What a table reads of a question."""

    @property
    def kind(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def last_answer(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Oracles:
    """Two tables with one rule: the answer most often right for the key, else for the kind, else the first.

    "blind" is keyed by kind and prompt; "last_frame" by kind and the answer that the last frame gives.
    """

    blind: Mapping[Hashable, str]
    last_frame: Mapping[Hashable, str]

    def answers(self, asked: Asked) -> dict[str, str]:
        """Each oracle's answer to a question."""
        return {
            "blind": self._look(self.blind, (asked.kind, asked.prompt), asked),
            "last_frame": self._look(self.last_frame, (asked.kind, asked.last_answer), asked),
        }

    def _look(self, table: Mapping[Hashable, str], key: Hashable, asked: Asked) -> str:
        return table.get(key) or table.get((asked.kind, asked.choices)) or asked.choices[0]


def fit_oracles(questions: Iterable[Asked]) -> Oracles:
    """Count the answers of training questions; ties go to the answer that sorts first."""
    blind: dict[Hashable, Counter[str]] = defaultdict(Counter)
    last: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for asked in questions:
        for table, key in ((blind, asked.prompt), (last, asked.last_answer)):
            table[(asked.kind, key)][asked.answer] += 1
            table[(asked.kind, asked.choices)][asked.answer] += 1
    return Oracles(_majority(blind), _majority(last))


def _majority(table: Mapping[Hashable, Counter[str]]) -> dict[Hashable, str]:
    return {key: min(counts, key=lambda answer: (-counts[answer], answer)) for key, counts in table.items()}
