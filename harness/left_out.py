"""What remains of a difference when one kind of question is left out.

A difference over all questions may come from one kind alone. Whoever asks other questions should know it, so
every order that is claimed is looked at again without each kind in turn: the same models, the same questions
but those of the kind, the same rule. The p-value is not corrected for the number of kinds: nothing new is
claimed, and an order must not fall because many kinds were tried. See docs/design/statistics.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.answers import Question, Scores, mean_over
from harness.stats.intervals import Floats
from harness.stats.permutation import DRAWS, DRAWS_PER_TEST, sign_flip

LEVEL = 0.05
_BATCH = DRAWS // DRAWS_PER_TEST


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Two sides over all questions but those of ``kind``, of which there are ``asked``.

    ``better`` and ``worse`` are the accuracies in 0..1 of each side's models; which side is which is decided
    over all questions.
    ``p_value`` is that of the paired test over groups, uncorrected.
    """

    kind: str
    asked: int
    remaining: int
    better: tuple[float, ...]
    worse: tuple[float, ...]
    p_value: float

    @property
    def means(self) -> tuple[float, float]:
        """Accuracy of the better and of the worse side, over its models."""
        return mean_over(self.better), mean_over(self.worse)

    @property
    def turned(self) -> bool:
        """Whether the side that is worse on all questions is ahead on these."""
        better, worse = self.means
        return worse > better

    @property
    def turned_clearly(self) -> bool:
        """Whether the opposite order could be claimed on these."""
        return min(self.worse) > max(self.better) and self.p_value < LEVEL

    @property
    def stands(self) -> bool:
        """Whether the order may still be claimed: every model above every other, and p below 5 %."""
        return min(self.better) > max(self.worse) and self.p_value < LEVEL


Pair = tuple[Sequence[Scores], Sequence[Scores]]
"""Scores by model of the better and of the worse side."""


def left_out(
    pairs: Sequence[Pair], kinds: Mapping[Question, str], groups: Mapping[Question, Hashable]
) -> list[tuple[LeftOut, ...]]:
    """For every pair what each kind leaves behind, in order of kinds; nothing where there is one kind only.

    Questions count that every model of both sides was scored on.
    """
    drafts = [_parts(better, worse, kinds, groups) for better, worse in pairs]
    sums = [one for draft in drafts for one in draft.sums]
    # More tests at once would draw more, which only a correction needs.
    batches = [sums[start : start + _BATCH] for start in range(0, len(sums), _BATCH)]
    tests = iter([test for batch in batches for test in sign_flip(batch)])
    return [
        tuple(
            LeftOut(
                kind=kind,
                asked=asked,
                remaining=draft.questions - asked,
                better=tuple(better),
                worse=tuple(worse),
                p_value=next(tests).p_value,
            )
            for kind, asked, better, worse in zip(
                draft.kinds, draft.asked, draft.better, draft.worse, strict=True
            )
        )
        for draft in drafts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """By kind left out: how many questions it has, accuracies by model, and sums of differences by group."""

    questions: int
    kinds: Sequence[str]
    asked: Sequence[int]
    better: Sequence[list[float]]
    worse: Sequence[list[float]]
    sums: Sequence[Floats]


def _parts(
    better: Sequence[Scores],
    worse: Sequence[Scores],
    kinds: Mapping[Question, str],
    groups: Mapping[Question, Hashable],
) -> _Parts:
    """Shapes: M models, Q questions, K kinds, G groups."""
    models = [*better, *worse]
    common = sorted(set(models[0]).intersection(*models[1:])) if better and worse else []
    names = sorted({kinds[question] for question in common})
    if len(names) < 2:
        return _Parts(questions=len(common), kinds=(), asked=(), better=(), worse=(), sums=())
    scores_MQ = np.array([[model[question] for question in common] for model in models], dtype=np.float64)
    kind_Q = np.array([names.index(kinds[question]) for question in common])
    order = {group: index for index, group in enumerate(dict.fromkeys(groups[one] for one in common))}
    group_Q = np.array([order[groups[question]] for question in common])
    asked_K = np.bincount(kind_Q)
    of_kind_MK = np.stack([np.bincount(kind_Q, weights=scores_Q) for scores_Q in scores_MQ])
    rest_MK = (of_kind_MK.sum(axis=1, keepdims=True) - of_kind_MK) / (len(common) - asked_K)
    # Equal accuracies must be equal, whatever order their scores were added up in.
    rest_KM = rest_MK.round(12).T.tolist()
    difference_Q = scores_MQ[: len(better)].mean(axis=0) - scores_MQ[len(better) :].mean(axis=0)
    cells_KG = np.zeros((len(names), len(order)))
    np.add.at(cells_KG, (kind_Q, group_Q), difference_Q)
    left_KG = cells_KG.sum(axis=0) - cells_KG
    # What cancels out in a group has no say; rounding must not give it one.
    left_KG[np.abs(left_KG) < 1e-9] = 0.0
    return _Parts(
        questions=len(common),
        kinds=names,
        asked=asked_K.tolist(),
        better=[accuracies[: len(better)] for accuracies in rest_KM],
        worse=[accuracies[len(better) :] for accuracies in rest_KM],
        sums=list(left_KG),
    )
