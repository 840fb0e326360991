"""Who is the most accurate among some methods, and who cannot be told from the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.comparisons import Comparison
from harness.report.points import rows_of
from harness.report.text import interval, known, listed, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A method's accuracy at the place where methods are compared, with its 95 % interval over samples."""

    mean: float
    low: float
    high: float
    models: int

    def __str__(self) -> str:
        return f"{share(self.mean)} {interval(self.low, self.high)}"


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Accuracies of one setting at one place, best first, and the orders that are borne there."""

    scores: Mapping[str, Score]
    borne: frozenset[tuple[str, str]]
    """(better, worse): every seed and the paired test bear it."""

    def best_of(self, labels: Collection[str]) -> tuple[str, list[str]] | None:
        """The highest mean among ``labels`` and those that no borne order puts below it, best first; None
        where none has an accuracy."""
        among = [label for label in self.scores if label in labels]
        if not among:
            return None
        best, *others = among
        return best, [label for label in others if (best, label) not in self.borne]


def ranking(here: pd.DataFrame, comparisons: Sequence[Comparison]) -> Ranking | None:
    """The ranking of the points at one place; None without any accuracy."""
    rows = [row for row in rows_of(here) if row["models"] and known(row["accuracy"])]
    rows.sort(key=lambda row: -row["accuracy"])
    scores = {
        row["method"]: Score(
            mean=row["accuracy"], low=row["accuracy_low"], high=row["accuracy_high"], models=row["models"]
        )
        for row in rows
    }
    borne = frozenset((one.better, one.worse) for one in comparisons if one.borne)
    return Ranking(scores=scores, borne=borne) if scores else None


def verdict(found: Ranking, labels: Collection[str]) -> str:
    """``A 0.95 [0.94, 0.96], above each of the other 7``, or what it is tied with."""
    best = found.best_of(labels)
    assert best is not None
    leader, tied = best
    others = sum(label in labels for label in found.scores) - 1
    text = f"{leader} {found.scores[leader]}"
    if not others:
        return f"{text}, the only one with an accuracy"
    if not tied:
        return f"{text}, above {'the other one' if others == 1 else f'each of the other {others}'}"
    if len(tied) == others:
        return f"{text}, but no order between it and {listed(tied)} is borne"
    return f"{text}, tied with {listed(tied)} and above the other {others - len(tied)}"
