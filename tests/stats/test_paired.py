"""Paired comparisons against scipy and enumerations; their error rates are in test_simulation.py."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, permutation_test

from harness.errors import UsageError
from harness.stats.mcnemar import bonett_price, exact_p, mid_p
from harness.stats.multiple import holm
from harness.stats.paired import PairedScores, paired_difference, paired_differences
from harness.stats.permutation import sign_flip
from harness.stats.seeds import seed_difference, seed_spread


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_of_discordant_questions(gained: int, lost: int) -> None:
    number = gained + lost
    exact = float(binomtest(gained, number).pvalue) if number else 1.0
    assert exact_p(gained, lost) == pytest.approx(exact)
    if gained != lost:
        exact -= float(binom.pmf(gained, number, 0.5))
    assert mid_p(gained, lost) == pytest.approx(exact)
    assert mid_p(gained, lost) == mid_p(lost, gained)


@pytest.mark.parametrize(("gained", "lost", "number"), [(0, 0, 20), (20, 0, 20), (3, 9, 40), (50, 20, 900)])
def test_the_interval_of_a_difference_holds_it_and_has_a_width(gained: int, lost: int, number: int) -> None:
    low, high = bonett_price(gained, lost, number)
    assert -1 <= low <= (gained - lost) / number <= high <= 1
    assert low < high


def test_independent_right_or_wrong_answers_take_mcnemars_test() -> None:
    first, second = [1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0, 0.0]
    found = paired_difference(first, second, ["a", "b", "c", "d", "e"])
    assert (found.test, found.gained, found.lost, found.questions) == ("McNemar mid-p", 2, 1, 5)
    assert found.mean == pytest.approx(0.2)
    assert (found.p_value, found.exact_p) == (mid_p(2, 1), 1.0)


def test_answers_that_share_a_clip_or_are_fractional_take_sign_flips_of_clips() -> None:
    shared = paired_difference([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], ["a", "a", "b"])
    fractional = paired_difference([0.5, 1.0, 0.5], [0.0, 0.0, 0.0], ["a", "b", "c"])
    for found in (shared, fractional):
        assert found.test == "sign flips exact"
        assert (found.gained, found.lost, found.exact_p) == (None, None, None)
    # One clip that differs has two equally extreme signs; of three clips two assignments in eight are.
    assert (shared.p_value, fractional.p_value) == (1.0, 0.25)
    assert (shared.groups, shared.questions) == (2, 3)


def test_few_clips_are_enumerated_as_scipy_does() -> None:
    sums = np.array([0.5, 1.0, -0.25, 2.0, 1.5, -0.75, 0.3, 0.0])
    reference = permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=math.inf, vectorized=False
    )
    found = sign_flip([sums])[0]
    assert found.exact
    assert found.p_value == pytest.approx(float(reference.pvalue))


def test_drawn_sign_flips_are_near_the_enumeration_with_ties_as_half() -> None:
    sums = np.array([1.0, 1.0, -1.0, 2.0, 1.0, -1.0, 1.0, 1.0, 1.0, 3.0, -2.0, 1.0, 1.0, -1.0, 1.0, 1.0])
    signs = 2.0 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1) - 1
    totals = np.abs(signs @ sums)
    expected = ((totals > sums.sum()).mean() + (totals >= sums.sum()).mean()) / 2
    found = sign_flip([sums])[0]
    assert not found.exact
    assert found.p_value == pytest.approx(expected, abs=0.006)


def test_a_drawn_p_value_is_never_zero_and_survives_holms_correction_for_its_family() -> None:
    tests = [np.ones(100)] * 1000
    p_values = [one.p_value for one in sign_flip(tests)]
    assert min(p_values) > 0
    assert max(holm(p_values)) < 0.05


def test_a_pair_is_compared_alike_alone_and_among_others() -> None:
    rng = np.random.default_rng(0)
    groups = [index // 4 for index in range(80)]
    pairs = [
        PairedScores(first=rng.random(80).tolist(), second=rng.random(80).tolist(), groups=groups)
        for _ in range(3)
    ]
    together = paired_differences(pairs)
    alone = paired_difference(pairs[1].first, pairs[1].second, groups)
    assert (together[1].low, together[1].high) == pytest.approx((alone.low, alone.high))
    assert together[1].p_value == pytest.approx(alone.p_value, abs=0.001)


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    better = (rng.random(300) < 0.8).astype(float)
    worse = (rng.random(300) < 0.6).astype(float)
    found = paired_difference(better.tolist(), worse.tolist(), [index // 3 for index in range(300)])
    assert found.low > 0
    assert found.p_value < 0.01
    assert found.mean == pytest.approx(better.mean() - worse.mean())


@pytest.mark.parametrize("groups", [[0, 1, 2, 3], [0, 0, 1, 1]])
def test_equal_scores_have_no_difference_and_no_certainty(groups: list[int]) -> None:
    found = paired_difference([1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], groups)
    assert (found.mean, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_one_clip_says_nothing_of_others() -> None:
    found = paired_difference([1.0, 1.0], [0.0, 0.5], ["a", "a"])
    assert (found.low, found.high, found.p_value) == (-1.0, 1.0, 1.0)


@pytest.mark.parametrize("wrong", [math.nan, 1.5, -0.1])
def test_what_is_no_score_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match=r"not in 0\.\.1"):
        paired_difference([1.0, wrong], [0.0, 0.0], [0, 1])


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(UsageError, match="2 scores against 1"):
        paired_difference([1.0, 1.0], [0.0], [0, 1])


def test_fifty_five_pairs_of_two_thousand_questions_share_their_draws() -> None:
    """Drawn one by one they take 20 times as long; processor time, so that a busy machine does not matter."""
    rng = np.random.default_rng(0)
    groups = list(range(2048))
    sides = [rng.random(2048).tolist() for _ in range(11)]
    pairs = [
        PairedScores(first=sides[one], second=sides[two], groups=groups)
        for one in range(11)
        for two in range(one)
    ]
    start = time.process_time()
    assert len(paired_differences(pairs)) == 55
    assert time.process_time() - start < 3


def test_holm_on_a_known_example() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_spread_over_seeds() -> None:
    found = seed_spread([0.5, 0.6, 0.7])
    assert (found.models, found.least, found.most) == (3, 0.5, 0.7)
    assert (found.mean, found.sd) == pytest.approx((0.6, 0.1))
    # R: qt(0.975, 2) * 0.1 / sqrt(3) = 0.2484
    assert (found.low, found.high) == pytest.approx((0.6 - 0.2484, 0.6 + 0.2484), abs=1e-4)


def test_one_model_has_no_spread_and_none_is_an_error() -> None:
    found = seed_spread([0.5])
    assert (found.mean, found.sd, found.low, found.high) == (0.5, None, None, None)
    with pytest.raises(UsageError, match="0 models"):
        seed_spread([])


def test_differences_by_seed_take_the_seeds_of_both() -> None:
    found = seed_difference([(0, 0.5), (1, 0.7), (2, 0.9)], [(1, 0.4), (2, 0.5), (3, 0.0)])
    assert found is not None
    assert found.models == 2
    assert (found.least, found.most) == pytest.approx((0.3, 0.4))
    assert seed_difference([(0, 0.5), (1, 0.7)], [(1, 0.4)]) is None
    assert seed_difference([(0, 0.5), (0, 0.7), (1, 0.2)], [(0, 0.4), (1, 0.1)]) is None
