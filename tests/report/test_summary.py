"""The summary and a setting's sentences, on records with known truth."""

from __future__ import annotations

from collections.abc import Sequence

from harness.counting.records import CountRecord
from harness.records import Ok, Record
from harness.report.document import Section, Table
from harness.report.orders import declared_orders, orders_in_words
from harness.report.sections import summary
from harness.report.sections.task import section as task_section
from harness.report.sections.task import setting_list
from harness.timing.records import TimingRecord
from tests.counted import count_key, peak, series
from tests.counted import record as counted_record
from tests.report import synthetic as s
from tests.report.made import GIB, evidence, said, table, video
from tests.timing import made as timed

MIB = 2**20
OK = [
    s.record(s.key(name, frames=4, seed=seed, weights=f"{seed:016x}"))
    for name in s.SKILL
    for seed in (0, 1, 2)
]
"""Skills: token_insertion above casa above vanilla_ca."""
PEAKS: dict[str, dict[int, int | str]] = {
    "token_insertion": {60: 8 * GIB, 300: 31 * GIB, 3600: 300 * GIB},
    "vanilla_ca": {60: 7 * GIB, 300: 7 * GIB, 3600: 7 * GIB},
    "casa": {60: 9 * GIB, 300: 10 * GIB, 3600: 70 * GIB},
}


def tuned(amounts: dict[str, dict[int, int | str]], **changes: str) -> list[CountRecord]:
    """As :func:`video`, with the settings that the cells' methods have."""
    found = []
    for one in video(amounts):
        config = s.key(one.key.method).method_config
        found.append(one.model_copy(update={"key": one.key.model_copy(update={"method_config": config})}))
    return found


def the_summary(
    records: Sequence[Record] = (),
    counted: Sequence[CountRecord] = (),
    timings: Sequence[TimingRecord] = (),
    *,
    with_samples: bool = True,
) -> Section:
    found = evidence(records, counted, timings, with_samples=with_samples)
    return summary.section(found, setting_list(found))


def test_the_advice_says_what_to_take_and_why() -> None:
    section = the_summary(OK, tuned(PEAKS))
    text = said(section)
    assert (
        "For a 5-minute video (300 frames of 448 pixels, one a second) on a card of 24 GB with large: casa; "
        "its peak of 10 GiB fits the 21.4 GiB that are left of the card." in text
    )
    assert "Of the 2 methods that fit: on videoqa at 4 frames casa 0." in text
    assert "above the other one. Too large: token_insertion (31 GiB)." in text
    assert "with large or at 3,600 frames" in text
    budget = table(section, "budget_prefill")
    frames, video_length, *entries = (cell.text for cell in budget.rows[1])
    assert (frames, video_length) == ("300", "5 minutes")
    assert [entry.partition(" ")[0] for entry in entries] == ["casa"] * 2 + ["token_insertion"] * 2
    assert [entry.partition(", ")[2] for entry in entries] == ["10 GiB"] * 2 + ["31 GiB"] * 2
    assert budget.source.records == (
        "harness export 'runs/a b' --table counted --where mode=prefill --where backbone=large "
        "--resolution 448",
    )
    (command,) = budget.source.measure
    assert "harness bench --methods token_insertion,vanilla_ca,casa" in command
    assert "--backbone large --mode prefill --frames 60,300,3600 --resolution 448" in command


def test_one_seed_ties_what_fits() -> None:
    one_seed = [one for one in OK if one.key.seed == 0]
    text = said(the_summary(one_seed, tuned(PEAKS)))
    assert "casa or vanilla_ca; of casa its peak of 10 GiB fits" in text
    assert "vanilla_ca needs the least, 7 GiB" in text
    assert "no order is claimed that involves token_insertion, casa and vanilla_ca" in text


def test_a_run_with_counted_records_alone_advises_by_memory_and_names_what_is_missing() -> None:
    text = said(the_summary(counted=tuned(PEAKS)))
    assert "vanilla_ca needs the least, 7 GiB; nothing ranks the 2 methods that fit the 21.4 GiB" in text
    assert "that are left of the card by accuracy" in text
    assert "harness eval --task videoqa --methods token_insertion,vanilla_ca,casa" in text
    assert "harness time --methods token_insertion,vanilla_ca,casa" in text
    assert "--out 'runs/a b'" in text
    assert "harness bench" not in text


def test_a_run_without_counted_records_has_no_advice_and_says_how_to_get_it() -> None:
    section = the_summary(OK)
    text = said(section)
    assert [block for block in section.walk() if isinstance(block, Table)] == []
    assert "Which method for which budget" not in text
    assert "videoqa at 4 frames: token_insertion 0." in text
    assert "harness bench --methods" in text
    assert "harness eval" not in text


def test_random_weights_rank_nothing() -> None:
    records = [s.record(s.key(name, weights="random")) for name in s.SKILL]
    text = said(the_summary(records, tuned(PEAKS)))
    assert "random weights. Their costs mean something, their accuracies do not" in text
    assert "nothing ranks the 2 methods" in text
    assert "harness eval" in text


def test_one_method() -> None:
    records = [one for one in OK if one.key.method == "casa"]
    text = said(the_summary(records, tuned({"casa": PEAKS["casa"]})))
    assert "Of the only method that fits: on videoqa at 4 frames casa 0." in text
    assert "the only one with an accuracy" in text
    assert "Memory, prefill" not in text


def test_no_records_and_none_measured() -> None:
    assert "There are no records in this run" in said(the_summary())
    failed = said(the_summary([s.record(s.key(), s.failed())]))
    assert "None of the 1 cell was measured" in failed
    assert "1 of 1 cell failed (1 out of memory; casa)" in failed


def test_failures_skips_and_what_was_not_counted_are_one_line() -> None:
    counted = tuned({"vanilla_ca": {1: GIB, 2: "planted"}})
    text = said(the_summary(s.run(frames=(1, 4), resolutions=(32, 64)), counted))
    assert (
        "Not finished: 3 of 36 cells failed (3 out of memory; token_insertion); 1 cell skipped (casa); "
        "1 of 2 counted scenarios could not be counted (vanilla_ca)." in text
    )
    assert "Not finished" not in said(the_summary(OK))


def test_declared_orders_that_hold_are_counted_and_those_that_do_not_are_named() -> None:
    line = series({n: 100 * MIB + n * MIB for n in (4, 8, 16)}, method="vanilla_ca")
    flat = series({n: 100 * MIB for n in (4, 8, 16)}, method="vanilla_ca", mode="stream")
    assert orders_in_words(declared_orders([*line, *flat])) == [
        "All 2 declared orders of memory hold in the counted records, by the gate's order rule with its "
        "tolerance of 0.05."
    ]
    square = series({n: 100 * MIB + n * n * MIB for n in (4, 8, 16)}, method="vanilla_ca")
    first, second = orders_in_words(declared_orders([*square, *flat]))
    assert first.startswith("1 of 2 declared orders of memory does not hold")
    assert second.startswith("vanilla_ca · prefill · frames at 64x64: order 2.00")
    assert second.endswith("above the declaration by 1.00.")


def test_an_order_that_rounding_explains_is_said_to_hold_within_it() -> None:
    amounts = {4: 100 * MIB, 8: 100 * MIB + 2048, 16: 100 * MIB + 2048 + 6144}
    (line,) = orders_in_words(declared_orders(series(amounts, method="vanilla_ca")))
    assert line.startswith("The declared order of memory holds")
    assert "(1 of them within the allocator's rounding at these sizes)" in line


def test_orders_need_three_sizes_fixed_text_and_a_known_method() -> None:
    two = series({n: 100 * MIB + n * MIB for n in (4, 8)}, method="vanilla_ca")
    text = series({n: 100 * MIB + n * n * MIB for n in (4, 8, 16)}, method="vanilla_ca", text_per_frame=4)
    unknown = series({n: 100 * MIB + n * n * MIB for n in (4, 8, 16)}, method="not_here")
    assert orders_in_words(declared_orders([*two, *text, *unknown])) == []


def test_orders_over_pixels_too() -> None:
    counted = [
        counted_record(count_key("vanilla_ca", height=side, width=side), peak(100 * MIB + side**4))
        for side in (16, 32, 64)
    ]
    (line, failure) = orders_in_words(declared_orders(counted))
    assert "1 of 1 declared order" in line
    assert "pixels at 8 frames: order 2.00" in failure


def test_latency_crossings_come_from_interleaved_rounds_alone() -> None:
    turning = [
        timed.record({"one": timed.around(first), "two": timed.around(2, seed=1)}, frames)
        for frames, first in ((1, 1), (4, 4))
    ]
    text = said(the_summary(timings=turning))
    assert (
        "Latency of prefill, without vision encoding, timed in turns (counting, 8x16 pixels, random "
        "weights): one is faster than two up to 1 frame and slower from 4 on." in text
    )
    steady = [timed.record({"one": timed.around(1), "two": timed.around(2, seed=1)}, n) for n in (1, 4)]
    assert "no order of two methods turns with the number of frames" in said(the_summary(timings=steady))
    assert "Latency" not in said(the_summary(OK))


def words(records: Sequence[Record], *, with_samples: bool = True) -> str:
    """What the section of the one setting says, without its tables."""
    found = evidence(records, with_samples=with_samples)
    (setting,) = setting_list(found)
    return said(task_section(setting, found))


def test_a_setting_names_the_best_and_counts_the_orders() -> None:
    text = words(s.run(frames=(4, 8), resolutions=(64,)))
    assert "Most accurate at 4 frames, 64 pixels: token_insertion 0." in text
    assert "above each of the other 2. 3 of 3 orders between two methods are borne" in text
    assert "Not finished: token_insertion at 8 frames and 64 pixels (out of memory)." in text


def test_a_setting_claims_no_order_from_one_seed() -> None:
    text = words([one for one in OK if one.key.seed == 0])
    assert "no order between it and casa and vanilla_ca is borne" in text
    assert "None is claimed that involves token_insertion, casa and vanilla_ca" in text


def test_a_setting_claims_no_order_without_answers_to_compare() -> None:
    text = words(OK, with_samples=False)
    assert "No order between methods is claimed: the answers" in text
    assert "Most accurate" not in text


def test_a_setting_claims_no_order_between_equals() -> None:
    keys = [s.key(name, seed=seed, weights=f"{seed:016x}") for name in ("one", "two") for seed in (0, 1, 2)]
    assert "0 of 1 order between two methods are borne" in words([s.record(key) for key in keys])


def test_kinds_at_chance_are_one_line_per_method() -> None:
    cell = s.key("vanilla_ca")
    full = s.measures(cell)
    kinds = full.by_kind | {"motion": s.accuracy(0.25, 40, 0.25), "when": s.accuracy(0.02, 40, 0.25)}
    text = words([s.record(cell, Ok(measures=full.model_copy(update={"by_kind": kinds})))])
    (line,) = [line for line in text.splitlines() if "cannot be told from chance" in line]
    assert "motion" in line
    assert line.endswith("and is below chance on when.")


def test_a_setting_says_that_random_weights_have_no_accuracy_to_speak_of() -> None:
    assert "random weights" in words([s.record(s.key(weights="random"))])
    assert "random weights" not in words([s.record(s.key())])


def test_questions_that_do_not_count_are_said() -> None:
    cell = s.key()
    full = s.measures(cell)
    assert full.accuracy is not None
    less = full.model_copy(update={"accuracy": full.accuracy.model_copy(update={"errors": 3})})
    said_of = said(the_summary([s.record(cell, Ok(measures=less))]))
    assert "Up to 3 questions of a cell could not be asked or scored" in said_of
    assert "could not be asked" not in said(the_summary([s.record(cell)]))
    assert "could not be asked" not in said(the_summary([s.record(cell, s.failed())]))
