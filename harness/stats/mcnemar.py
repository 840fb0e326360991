"""Right-or-wrong answers of two methods to the same independent questions: McNemar's test and an interval.

Only the discordant questions, which one of the two answers rightly and the other wrongly, tell them apart.
"""

from __future__ import annotations

import math

from scipy.special import bdtr, ndtri

from harness.stats.intervals import CONFIDENCE


def exact_p(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p-value: the binomial test of ``gained`` out of all discordant questions."""
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def mid_p(gained: int, lost: int) -> float:
    """The mid-p variant, which counts half of what is as likely as the observed (Fagerland et al. 2013).

    The exact test rejects true equality in less than 5 % of the cases because counts are discrete; this one
    keeps near 5 % (BMC Medical Research Methodology 13:91).
    """
    number, fewer = gained + lost, min(gained, lost)
    below = float(bdtr(fewer - 1, number, 0.5)) if fewer else 0.0
    return min(1.0, below + float(bdtr(fewer, number, 0.5)))


def bonett_price(gained: float, lost: float, number: int) -> tuple[float, float]:
    """Bonett and Price's 95 % interval (2012) for ``(gained - lost) / number``, a share in -1..1.

    Wald's interval after one question is added to each kind of discordant ones, so that it has a width where
    none was seen (Journal of Educational and Behavioral Statistics 37:479).
    """
    first, second = (gained + 1) / (number + 2), (lost + 1) / (number + 2)
    centre = first - second
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt((first + second - centre**2) / (number + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)
