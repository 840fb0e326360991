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

    "blind" is keyed by kind and prompt; "last_frame" by kind and what the last frame says. Tables hold
    positions among the choices, because a question's choices may be its own ("image one or image three ?").
    """

    blind: Mapping[Hashable, int]
    last_frame: Mapping[Hashable, int]

    def answers(self, asked: Asked) -> dict[str, str]:
        """Each oracle's answer to a question."""
        return {
            "blind": self._look(self.blind, (asked.kind, asked.prompt), asked),
            "last_frame": self._look(self.last_frame, (asked.kind, asked.last_answer), asked),
        }

    def _look(self, table: Mapping[Hashable, int], key: Hashable, asked: Asked) -> str:
        place = table.get(key, table.get((asked.kind, len(asked.choices)), 0))
        return asked.choices[min(place, len(asked.choices) - 1)]


def fit_oracles(questions: Iterable[Asked]) -> Oracles:
    """Count the answers of training questions; ties go to the earlier choice."""
    blind: dict[Hashable, Counter[int]] = defaultdict(Counter)
    last: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for asked in questions:
        place = asked.choices.index(asked.answer)
        for table, key in ((blind, asked.prompt), (last, asked.last_answer)):
            table[(asked.kind, key)][place] += 1
            table[(asked.kind, len(asked.choices))][place] += 1
    return Oracles(_majority(blind), _majority(last))


def _majority(table: Mapping[Hashable, Counter[int]]) -> dict[Hashable, int]:
    return {key: min(counts, key=lambda place: (-counts[place], place)) for key, counts in table.items()}
