"""Answers to single questions as scores, for comparisons question by question, and why some have none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.records import SampleOutcome

Question = tuple[str, str]
"""Sample and question: what two cells of one view share."""

Scores = Mapping[Question, float]
"""One model's scores in 0..1; a question without a score is not in it."""

_LONGEST_REASON = 160


def scores(outcomes: Iterable[SampleOutcome]) -> dict[Question, float]:
    """What every answer adds to a mean: 0 when unparsed, nothing on an error or without a finite score."""
    found = {}
    for one in outcomes:
        value = 0.0 if one.status == "unparsed" else one.value
        if one.status != "error" and value is not None and math.isfinite(value):
            found[one.sample, one.question] = value
    return found


def mean_scores(models: Sequence[Scores]) -> dict[Question, float]:
    """The mean score per question over models, for the questions that every model was scored on."""
    if not models:
        return {}
    common = set(models[0]).intersection(*models[1:])
    return {question: mean_over([model[question] for model in models]) for question in sorted(common)}


def mean_over(values: Sequence[float]) -> float:
    """The mean, exactly equal for equal values in any order."""
    return math.fsum(values) / len(values)


def without_score(outcomes: Iterable[SampleOutcome]) -> list[SampleOutcome]:
    """The questions that do not count: they could not be asked, or their answers not be scored."""
    return [one for one in outcomes if not one.counts]


def commonest_reason(reasons: Iterable[str | None]) -> str:
    """The reason that most questions have, in brackets after a space; nothing where none has one."""
    counts = Counter(reasons)
    reason = next((one for one, _ in counts.most_common() if one), None)
    if reason is None:
        return ""
    words = " ".join(reason.split())[:_LONGEST_REASON]
    return f" ({'most often: ' if len(counts) > 1 else ''}{words})"
