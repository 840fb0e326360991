"""Who beats whom at one place of the grid, question by question, and whether the seeds bear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from harness.answers import Question, Scores, mean_over, mean_scores, scores
from harness.left_out import LEVEL, LeftOut, left_out
from harness.records import SampleOutcome
from harness.report.points import numeric
from harness.report.style import ordered
from harness.stats.multiple import holm
from harness.stats.paired import PairedDifference, PairedScores, paired_differences
from harness.stats.seeds import SeedSpread, seed_difference

Samples = Mapping[str, Sequence[SampleOutcome]]
"""Answered questions by a cell's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``better`` and ``worse`` by the mean over models and questions; ``borne`` says whether to claim it.

    It is borne where both sides have two models or more, every model of one side is above every model of the
    other, and the paired test over clips rejects equality at 5 % after Holm's correction for all pairs.
    ``seed_spread`` is the difference by seed over the same questions, None below two shared seeds.
    ``without`` has the same pair with each kind of question left out; only where the order is borne.
    """

    better: str
    worse: str
    difference: PairedDifference
    adjusted_p: float
    questions: int
    models: tuple[int, int]
    seeds_apart: bool
    seed_spread: SeedSpread | None
    without: tuple[LeftOut, ...] = ()

    @property
    def borne(self) -> bool:
        return min(self.models) > 1 and self.seeds_apart and self.adjusted_p < LEVEL


def compare(cells: pd.DataFrame, samples: Samples) -> list[Comparison]:
    """Every pair of methods that answered the same questions; ``cells`` are those of one place."""
    ok = cells[(cells["outcome"] == "ok") & numeric(cells["accuracy"]).notna()]
    digests = [digest for digest in ok["digest"] if digest in samples]
    answers: dict[str, Scores] = {}
    groups: dict[Question, str] = {}
    kinds: dict[Question, str] = {}
    for digest in digests:
        outcomes = samples[digest]
        answers[digest] = scores(outcomes)
        groups |= {(one.sample, one.question): one.group for one in outcomes}
        kinds |= {(one.sample, one.question): one.kind for one in outcomes}
    sides = {
        label: _Side(
            accuracies=numeric(rows["accuracy"]).tolist(),
            by_seed=[
                (int(seed), answers[digest])
                for seed, digest in zip(rows["seed"], rows["digest"], strict=True)
                if digest in answers
            ],
        )
        for label in ordered(list(zip(ok["method"], ok["method_name"], strict=True)))
        for rows in [ok[ok["method"] == label]]
    }
    means = {label: mean_scores(side.models) for label, side in sides.items()}
    pairs = []
    for first, second in combinations(sides, 2):
        common = sorted(means[first].keys() & means[second].keys())
        if common:
            totals = {label: mean_over([means[label][one] for one in common]) for label in (first, second)}
            better, worse = (first, second) if totals[first] >= totals[second] else (second, first)
            pairs.append((better, worse, common))
    differences = paired_differences(
        [
            PairedScores(
                first=[means[better][question] for question in common],
                second=[means[worse][question] for question in common],
                groups=[groups[question] for question in common],
            )
            for better, worse, common in pairs
        ]
    )
    adjusted = holm([difference.p_value for difference in differences])
    found = [
        Comparison(
            better=better,
            worse=worse,
            difference=difference,
            adjusted_p=p_value,
            questions=len(common),
            models=(len(sides[better].accuracies), len(sides[worse].accuracies)),
            seeds_apart=min(sides[better].accuracies) > max(sides[worse].accuracies),
            seed_spread=seed_difference(sides[better].over(common), sides[worse].over(common)),
        )
        for (better, worse, common), difference, p_value in zip(pairs, differences, adjusted, strict=True)
    ]
    claimed = [one for one in found if one.borne]
    models = [(sides[one.better].models, sides[one.worse].models) for one in claimed]
    without = dict(zip(map(id, claimed), left_out(models, kinds, groups), strict=True))
    return [replace(one, without=without.get(id(one), ())) for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One method's models at the place: their accuracies, and by seed the answers that can be read."""

    accuracies: list[float]
    by_seed: list[tuple[int, Scores]]

    @property
    def models(self) -> list[Scores]:
        return [model for _, model in self.by_seed]

    def over(self, questions: Sequence[Question]) -> list[tuple[int, float]]:
        return [
            (seed, mean_over([model[question] for question in questions])) for seed, model in self.by_seed
        ]
