"""Accuracy by kind of question at one place of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from harness.report.points import at, numeric, place_name
from harness.report.style import REFERENCES, ordered

UNBALANCED = 2
"""From so many times the questions on, a kind weighs so much more that the mean over kinds is told too."""


@dataclass(frozen=True, kw_only=True)
class KindTable:
    """Rows are labels, columns are kinds; NaN where there is no data.

    ``accuracy`` has the methods first and then chance and the oracles that are known; ``low``, ``high`` (95 %
    interval over samples), ``least`` and ``most`` (over models) have the methods only.
    """

    where: str
    accuracy: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    least: pd.DataFrame
    most: pd.DataFrame
    questions: dict[str, int]
    models: dict[str, int]

    @property
    def unbalanced(self) -> bool:
        """Whether one kind has :data:`UNBALANCED` times as many questions as another, or more."""
        return max(self.questions.values()) >= UNBALANCED * min(self.questions.values())

    def balanced(self) -> dict[str, float]:
        """The mean over kinds by method, every kind counted the same; without methods that lack a kind."""
        means = self.accuracy.loc[self.low.index].mean(axis="columns", skipna=False).dropna()
        return {str(label): float(mean) for label, mean in means.items()}


def kind_table(kinds: pd.DataFrame, place: tuple[int, int, int]) -> KindTable | None:
    """The table for one setting's rows at frames, height and width; None where no kind was scored."""
    rows = at(kinds, place)
    rows = rows[numeric(rows["accuracy"]).notna()]
    if not len(rows):
        return None
    labels = ordered(list(zip(rows["method"], rows["method_name"], strict=True)))
    names = list(dict.fromkeys(rows["kind"]))

    def grid(column: str, how: Literal["mean", "min", "max"]) -> pd.DataFrame:
        values = rows.assign(value=numeric(rows[column])).pivot_table(
            index="method", columns="kind", values="value", aggfunc=how, dropna=False
        )
        return values.reindex(index=labels, columns=names).astype(float)

    references = pd.DataFrame(
        {
            reference.label: rows.assign(value=numeric(rows[column])).groupby("kind")["value"].mean()
            for column, reference in sorted(REFERENCES.items(), reverse=True)
            if numeric(rows[column]).notna().any()
        }
    ).T
    accuracy = grid("accuracy", "mean")
    models = {label: int((rows[rows["method"] == label].groupby("kind").size()).max()) for label in labels}
    return KindTable(
        where=place_name(place),
        accuracy=pd.concat([accuracy, references.reindex(columns=names)]) if len(references) else accuracy,
        low=grid("accuracy_low", "mean"),
        high=grid("accuracy_high", "mean"),
        least=grid("accuracy", "min"),
        most=grid("accuracy", "max"),
        questions={name: int(numeric(rows[rows["kind"] == name]["questions"]).max()) for name in names},
        models=models,
    )
