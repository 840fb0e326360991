"""Answers with a known truth: clips differ in difficulty, and methods in strength from clip to clip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, roots_hermitenorm

from harness.stats.paired import PairedDifference, PairedScores, paired_differences

Floats = npt.NDArray[np.float64]

CLIP_SD, METHOD_SD = 1.2, 0.7
"""Spread of difficulty over clips and of a method's strength over clips, in logits."""

BATCH = 100
"""Comparisons that share their random draws; every batch has draws of its own."""


def two_methods(
    rng: np.random.Generator, shape: tuple[int, int, int], truths: tuple[float, float], seeds: int
) -> list[Floats]:
    """Two arrays of scores, shape (simulations, clips * questions), for ``shape`` (simulations, clips,
    questions a clip): means over ``seeds`` trained models whose expectation is the method's truth."""
    simulations, clips, questions = shape
    difficulty_SC = rng.normal(0, CLIP_SD, (simulations, clips))
    scores = []
    for truth in truths:
        logit_SC = _intercept(truth) + difficulty_SC + rng.normal(0, METHOD_SD, (simulations, clips))
        answers = rng.random((seeds, simulations, clips, questions)) < expit(logit_SC)[:, :, None]
        scores.append(answers.mean(axis=0).reshape(simulations, clips * questions))
    return scores


def _intercept(truth: float) -> float:
    """The logit at which the expected answer over clips is right with probability ``truth``."""
    nodes, weights = roots_hermitenorm(60)
    spread = float(np.hypot(CLIP_SD, METHOD_SD))
    found: float = brentq(
        lambda at: (weights * expit(at + spread * nodes)).sum() / weights.sum() - truth, -12, 12
    )
    return found


def compared(first: Floats, second: Floats, questions: int) -> list[PairedDifference]:
    """The paired comparison of every row, with ``questions`` neighbours in a row from one clip."""
    groups = (np.arange(first.shape[1]) // questions).tolist()
    found: list[PairedDifference] = []
    for start in range(0, len(first), BATCH):
        rows = zip(first[start : start + BATCH], second[start : start + BATCH], strict=True)
        pairs = [PairedScores(first=one.tolist(), second=two.tolist(), groups=groups) for one, two in rows]
        found += paired_differences(pairs, seed=start)
    return found
