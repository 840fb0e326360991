"""Which method for which budget: made-up peaks and rankings with known answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.budget import usable_bytes
from harness.errors import UsageError
from harness.report.advice import Choice, choose, duration, important
from harness.report.counted import Crossing, Peaks, memory_crossings, scenes, video_peaks
from harness.report.document import Table, Text
from harness.report.sections.turns import memory as turns_of_memory
from harness.report.sections.turns import needs_less
from harness.report.text import NO_DATA
from harness.report.verdicts import Level, Ranking, Score, verdict
from harness.scaling import Fit, frames_that_fit, growths
from tests.counted import series
from tests.report.made import GIB, body, evidence, video

ROOM = 24 * 10**9 - GIB
"""Of a card of 24 GB."""


def ranked(means: dict[str, float], borne: set[tuple[str, str]] | None = None) -> Ranking:
    """Best first; every order is borne unless given otherwise."""
    names = sorted(means, key=lambda name: -means[name])
    every = {(one, other) for i, one in enumerate(names) for other in names[i + 1 :]}
    scores = {
        name: Score(
            mean=means[name],
            low=means[name] - 0.01,
            high=means[name] + 0.01,
            models=3,
            least=means[name] - 0.02,
            most=means[name] + 0.02,
        )
        for name in names
    }
    return Ranking(scores=scores, borne=frozenset(every if borne is None else borne))


RANKED = ranked({"best": 0.9, "middle": 0.6, "worst": 0.3})


def at_60(amounts: dict[str, int | str]) -> Peaks:
    counted = video({method: {60: amount} for method, amount in amounts.items()})
    (peaks,) = video_peaks(scenes(counted, {}), "prefill")
    return peaks


def choice(amounts: dict[str, int | str], ranking: Ranking | None = RANKED, card: int = 24) -> Choice:
    return choose(at_60(amounts), 60, card, ranking)


def test_the_reserve_of_the_plan_is_kept_free() -> None:
    assert usable_bytes("24GB") == ROOM
    assert usable_bytes("24GiB", "0") == 24 * GIB
    with pytest.raises(UsageError, match="nothing of --gpu 1GiB is left"):
        usable_bytes("1GiB")


def test_what_fits_to_the_byte_is_chosen_and_one_byte_more_is_not() -> None:
    assert choice({"best": ROOM, "middle": GIB}).best == "best"
    over = choice({"best": ROOM + 1, "middle": GIB})
    assert (over.best, over.tied, over.beyond) == ("middle", (), {"best": ROOM + 1})
    assert over.entry == "middle 0.60, 1 GiB; best misses by 1 bytes"


def test_the_most_accurate_of_what_fits_wins_however_little_the_others_need() -> None:
    found = choice({"worst": GIB, "middle": 2 * GIB, "best": 3 * GIB})
    assert found.entry == "best 0.90, 3 GiB"
    assert list(found.fitting) == ["best", "middle", "worst"]


def test_ties_are_named_and_many_are_counted() -> None:
    two = ranked({"a": 0.9, "b": 0.8, "c": 0.1}, {("a", "c"), ("b", "c")})
    amounts: dict[str, int | str] = {"a": 3 * GIB, "b": 2 * GIB, "c": GIB}
    assert choice(amounts, two).entry == "a 0.90, 3 GiB or b 0.80, 2 GiB (no clear winner)"
    assert choice(amounts, two).least == "b"
    many = ranked({name: 0.5 for name in "abcd"}, set())
    assert choice({**amounts, "d": 4 * GIB}, many).entry == "4 without a clear winner; least: c 0.50, 1 GiB"


def test_a_tie_with_what_does_not_fit_counts_for_nothing() -> None:
    two = ranked({"a": 0.9, "b": 0.8}, set())
    found = choice({"a": GIB, "b": 30 * GIB}, two)
    assert (found.best, found.tied, found.entry) == ("a", (), "a 0.90, 1 GiB")


def test_nothing_fits() -> None:
    assert choice({"best": 30 * GIB}).entry == "none fits"
    assert choice({"best": 30 * GIB, "middle": "planted"}).entry == "none of those counted fits"


KNOWING = replace(RANKED, level=Level(name="last-frame oracle", value=0.28))
"""Worst is hardly better than an oracle that sees less: 0.02 of 0.72 on the way to 1."""


def test_what_learned_next_to_nothing_is_no_recommendation() -> None:
    found = choice({"worst": GIB, "best": 30 * GIB}, KNOWING)
    assert (found.best, found.little, found.entry) == (None, ("worst",), "none worth taking")
    assert choice({"worst": GIB, "best": 30 * GIB}, RANKED).entry == "worst 0.30, 1 GiB"
    found = choice({"worst": GIB, "middle": 2 * GIB}, KNOWING)
    assert (found.best, found.runner_up) == ("middle", None)
    assert not KNOWING.learned_little("middle")
    tenth = replace(KNOWING, level=Level(name="chance", value=2 / 9))
    assert not tenth.learned_little("worst")


def test_a_better_method_that_only_the_reserve_keeps_out_is_a_near_miss() -> None:
    over = choice({"best": ROOM + 5 * 2**20, "middle": GIB})
    assert over.near == {"best": 5 * 2**20}
    assert over.entry == "middle 0.60, 1 GiB; best misses by 5 MiB"
    assert choice({"best": ROOM + GIB, "middle": GIB}).near == {"best": GIB}
    assert choice({"best": ROOM + GIB + 1, "middle": GIB}).near == {}
    assert choice({"middle": ROOM + 1, "best": GIB}).near == {}
    assert choice({"worst": ROOM + 1}, KNOWING).near == {}


def test_without_accuracies_the_least_is_named() -> None:
    assert choice({"a": 2 * GIB, "b": GIB, "c": 30 * GIB}, None).entry == "2 fit; least: b 1 GiB"
    assert choice({"unranked": GIB}).entry == "1 fits; least: unranked 1 GiB"


def test_what_was_not_counted_is_unknown_and_not_too_large() -> None:
    found = choice({"best": "planted", "middle": GIB})
    assert found.unknown == ("best",)
    assert found.beyond == {}


@pytest.mark.parametrize(
    ("frames", "words"),
    [(1, "1 second"), (16, "16 seconds"), (60, "1 minute"), (90, "1.5 minutes"), (3600, "1 hour")],
)
def test_durations(frames: int, words: str) -> None:
    assert duration(frames) == words


def test_important_budgets_are_among_the_counted_sizes() -> None:
    assert important([1, 60, 300, 3600], "prefill") == [(300, 24), (3600, 80)]
    assert important([1, 64], "prefill") == [(64, 24), (64, 80)]
    assert important([1, 60, 300, 3600], "stream") == [(3600, 24)]
    assert important([], "prefill") == []


def test_verdicts() -> None:
    best = "best 0.90 [0.89, 0.91], seeds 0.88 to 0.92"
    assert verdict(RANKED, {"best", "middle", "worst"}) == f"{best}: ahead of all other 2"
    assert verdict(RANKED, {"middle", "worst"}).endswith("seeds 0.58 to 0.62: ahead of the other one")
    assert verdict(RANKED, {"worst"}).endswith("the only one with an accuracy")
    some = ranked({"a": 0.9, "b": 0.8, "c": 0.1}, {("a", "c")})
    assert verdict(some, {"a", "b", "c"}).endswith(": no clear winner between it and b, ahead of the other 1")
    assert verdict(some, {"a", "b"}).endswith(": no clear winner between it and b")


def test_many_without_a_clear_winner_are_counted() -> None:
    names = [f"method{index}" for index in range(9)]
    many = ranked({name: 0.5 for name in names}, set())
    assert verdict(many, names).endswith("method1, method2, method3, method4 and 4 more")


def peaks_of(amounts: dict[str, dict[int, int | str]]) -> Peaks:
    (peaks,) = video_peaks(scenes(video(amounts), {}), "prefill")
    return peaks


LINES: dict[str, dict[int, int | str]] = {
    "steep": {n: 100 + 10 * n for n in (1, 10, 100)},
    "flat": {n: 200 for n in (1, 10, 100)},
    "dear": {n: 9000 for n in (1, 10, 100)},
}


def test_a_crossing_between_two_counted_sizes() -> None:
    peaks = peaks_of({name: LINES[name] for name in ("steep", "flat")})
    # steep is at 200 with 10 frames: the equal size counts for neither side.
    assert memory_crossings(peaks) == [Crossing(first="steep", second="flat", until=1, since=100, about=10.0)]
    assert needs_less(peaks, "flat", "steep") == "from about 10"
    assert needs_less(peaks, "steep", "flat") == "up to about 10"


def test_no_crossing_and_no_data() -> None:
    assert memory_crossings(peaks_of({name: LINES[name] for name in ("flat", "dear")})) == []
    nothing = evidence()
    table, others = turns_of_memory([peaks_of(LINES)], nothing)
    assert isinstance(table, Table)
    assert body(table) == [["flat", "at every size"], ["steep", "at every size"]]
    assert others == Text("1 other pair of methods crosses too: section Memory.")
    assert turns_of_memory([peaks_of({"flat": LINES["flat"]})], nothing) == []
    assert turns_of_memory([peaks_of({"flat": {1: 5}, "steep": {1: 6}})], nothing) == []


def test_methods_that_start_equal_and_those_that_stay_so() -> None:
    peaks = peaks_of({"a": {1: 100, 10: 1000}, "b": {1: 100, 10: 2000}, "c": {1: 100, 10: 1005}})
    assert needs_less(peaks, "a", "b") == "from 10"
    assert needs_less(peaks, "b", "a") == "nowhere"
    assert needs_less(peaks, "a", "c") == "equal within 1 %"
    assert needs_less(peaks, "a", "a") == NO_DATA


def test_a_size_that_one_method_lacks_is_no_crossing() -> None:
    peaks = peaks_of({"a": {1: 10, 10: "planted", 100: 30}, "b": {1: 20, 10: 5, 100: 40}})
    assert memory_crossings(peaks) == []


def test_only_card_kernels_without_text_between_frames_advise() -> None:
    counted = [
        *series({1: GIB}, kernels="cpu"),
        *series({1: GIB}, text_per_frame=4),
        *series({1: GIB}, mode="stream"),
    ]
    assert video_peaks(scenes(counted, {}), "prefill") == []
    assert len(video_peaks(scenes(counted, {}), "stream")) == 1


@pytest.mark.parametrize(
    ("amounts", "budget", "fit"),
    [
        ({4: 1000, 8: 2000, 16: 4000}, 999, Fit(4, "none")),
        ({4: 1000, 8: 2000, 16: 4000}, 1000, Fit(4, "between")),
        ({4: 1000, 8: 2000, 16: 4000}, 3000, Fit(12, "between")),
        ({4: 1000, 8: 2000, 16: 4000}, 3999, Fit(15, "between")),
        ({n: 10**6 * n for n in (4, 8, 16)}, 40 * 10**6, Fit(40, "beyond")),
        ({4: 1000, 8: 1000, 16: 1000}, 1000, Fit(16, "any")),
        ({n: 10**6 * n * n for n in (4, 8, 16)}, 10**12, Fit(16, "at least")),
        ({4: 1000, 8: 2000}, 9000, Fit(8, "at least")),
    ],
)
def test_how_many_frames_fit_by_the_law(amounts: dict[int, int], budget: int, fit: Fit) -> None:
    (growth,) = growths(series(amounts), ("frames",))
    assert frames_that_fit(growth, budget) == fit
