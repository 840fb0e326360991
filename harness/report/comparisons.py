"""Who beats whom at one place of the grid, question by question, and whether the seeds bear it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from harness.records import SampleOutcome
from harness.report.points import numeric
from harness.report.style import ordered
from harness.stats.paired import PairedDifference, paired_difference

LEVEL = 0.05

Samples = Mapping[str, Sequence[SampleOutcome]]
"""Answered questions by a cell's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``better`` and ``worse`` by the mean over models and questions; ``borne`` says whether to claim it.

    It is borne where both sides have two models or more, every model of one side is above every model of the
    other, and the paired test over clips rejects equality at 5 % after Holm's correction for all pairs.
    """

    better: str
    worse: str
    difference: PairedDifference
    adjusted_p: float
    questions: int
    models: tuple[int, int]
    seeds_apart: bool

    @property
    def borne(self) -> bool:
        return min(self.models) > 1 and self.seeds_apart and self.adjusted_p < LEVEL


def compare(cells: pd.DataFrame, samples: Samples) -> list[Comparison]:
    """Every pair of methods that answered the same questions; ``cells`` are those of one place."""
    ok = cells[(cells["outcome"] == "ok") & numeric(cells["accuracy"]).notna()]
    scores: dict[str, dict[tuple[str, str], float]] = {}
    groups: dict[tuple[str, str], str] = {}
    for label in ordered(list(zip(ok["method"], ok["method_name"], strict=True))):
        found = [samples[digest] for digest in ok[ok["method"] == label]["digest"] if digest in samples]
        scores[label] = _mean_scores(found)
        groups |= {(one.sample, one.question): one.group for outcomes in found for one in outcomes}
    pairs = []
    for first, second in combinations(scores, 2):
        common = sorted(scores[first].keys() & scores[second].keys())
        if common:
            pairs.append(_compare_pair(first, second, common, scores, groups, ok))
    return _holm(pairs)


def _mean_scores(models: Sequence[Sequence[SampleOutcome]]) -> dict[tuple[str, str], float]:
    """The mean score per question over models, for the questions that every model was scored on."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for outcomes in models:
        for one in outcomes:
            if one.status != "error":
                values[one.sample, one.question].append(one.value or 0.0)
    return {
        question: sum(given) / len(given) for question, given in values.items() if len(given) == len(models)
    }


def _compare_pair(
    first: str,
    second: str,
    common: list[tuple[str, str]],
    scores: Mapping[str, Mapping[tuple[str, str], float]],
    groups: Mapping[tuple[str, str], str],
    cells: pd.DataFrame,
) -> Comparison:
    totals = {label: sum(scores[label][question] for question in common) for label in (first, second)}
    better, worse = (first, second) if totals[first] >= totals[second] else (second, first)
    difference = paired_difference(
        [scores[better][question] for question in common],
        [scores[worse][question] for question in common],
        [groups[question] for question in common],
    )
    means = {
        label: numeric(cells[cells["method"] == label]["accuracy"]).tolist() for label in (better, worse)
    }
    return Comparison(
        better=better,
        worse=worse,
        difference=difference,
        adjusted_p=difference.p_value,
        questions=len(common),
        models=(len(means[better]), len(means[worse])),
        seeds_apart=min(means[better]) > max(means[worse]),
    )


def _holm(pairs: list[Comparison]) -> list[Comparison]:
    """Holm's step-down correction of the p-values, keeping the order of the pairs."""
    order = sorted(range(len(pairs)), key=lambda index: pairs[index].difference.p_value)
    adjusted = [1.0] * len(pairs)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, pairs[index].difference.p_value * (len(pairs) - rank)))
        adjusted[index] = largest
    return [replace(pair, adjusted_p=p_value) for pair, p_value in zip(pairs, adjusted, strict=True)]
