"""The summary and a setting's sentences, on records with known truth."""

from __future__ import annotations

from collections.abc import Sequence

from harness.counting.records import CountRecord, Mode
from harness.records import Ok, Record
from harness.report.document import Section, Table
from harness.report.orders import declared_orders, orders_in_words
from harness.report.sections import summary
from harness.report.sections.task import section as task_section
from harness.report.sections.task import setting_list
from harness.report.text import NO_DATA
from harness.timing.records import TimingRecord
from tests.counted import count_key, peak, series
from tests.counted import record as counted_record
from tests.report import synthetic as s
from tests.report.made import GIB, body, evidence, said, table, video
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


def tuned(amounts: dict[str, dict[int, int | str]], mode: Mode = "prefill") -> list[CountRecord]:
    """As :func:`video`, with the settings that the cells' methods have."""
    found = []
    for one in video(amounts, mode):
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
    advice = body(table(section, "advice"))
    what, take, sure, memory, accuracy, following, too_large = advice[0]
    assert (what, take, memory) == ("5-minute video, 24 GB", "casa", "10 GiB of 21.4 GiB")
    assert accuracy.startswith("0.")
    assert "seeds 0." in accuracy
    assert sure == "clear"
    assert following.startswith("vanilla_ca 0.")
    assert following.endswith(", 7 GiB")
    assert too_large == "token_insertion 31 GiB"
    assert [row[:2] for row in advice[1:]] == [["1-hour video, 80 GB", "casa"]]
    caption = table(section, "advice").caption
    assert caption.startswith("Memory: counted for large (")
    assert (
        "Accuracy: measured on reference (0.70 to 0.71 million parameters), videoqa at 4 frames." in caption
    )
    assert "None was measured at 3,600 frames" in text
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


def test_many_without_a_clear_winner_leave_the_one_that_needs_the_least() -> None:
    keys = [s.key(name, frames=4, method_config={}) for name in ("casa", "token_insertion", "voco", "mllama")]
    counted = video({key.method: {300: (index + 1) * GIB} for index, key in enumerate(keys)})
    row = body(table(the_summary([s.record(key) for key in keys], counted), "advice"))[0]
    assert row[1:4] == ["casa, which needs the least of 4", "no clear winner", "1 GiB of 21.4 GiB"]


def test_nothing_worth_taking_is_no_advice() -> None:
    records = planted({"casa": {"now": 0.3, "past": 0.3}, "vanilla_ca": {"now": 0.9, "past": 0.9}})
    counted = tuned({"casa": {300: GIB}, "vanilla_ca": {300: 30 * GIB}})
    counted += tuned({"casa": {300: GIB}, "vanilla_ca": {300: 2 * GIB}}, mode="stream")
    row = body(table(the_summary(records, counted), "advice"))[0]
    assert row[1] == "none worth taking; frame by frame: vanilla_ca 0.90, 2 GiB"
    assert row[2:6] == [NO_DATA] * 4


def test_what_fits_frame_by_frame_only_is_said_to() -> None:
    once: dict[str, dict[int, int | str]] = {
        "token_insertion": {300: 40 * GIB},
        "casa": {300: 40 * GIB},
        "vanilla_ca": {300: 7 * GIB},
    }
    turn: dict[str, dict[int, int | str]] = {"token_insertion": {300: 8 * GIB}, "casa": {300: 50 * GIB}}
    counted = [*tuned(once), *tuned(turn, mode="stream")]
    section = the_summary(OK, counted)
    entries = body(table(section, "budget_prefill"))[0][2:]
    assert entries[0].startswith("vanilla_ca 0.")
    assert all("; frame by frame: token_insertion 0." in entry for entry in entries[:2])
    assert [entry.partition(" ")[0] for entry in entries[2:]] == ["token_insertion"] * 2
    assert "frame by frame" not in "".join(entries[2:])
    assert "at 300 frames token_insertion 8 GiB instead of 40 GiB" in said(section)


def planted(skills: dict[str, dict[str, float]]) -> list[Record]:
    """Three seeds of each method with the given accuracies by kind."""
    found = []
    for name, by_kind in skills.items():
        for seed in (0, 1, 2):
            cell = s.key(name, frames=4, seed=seed, weights=f"{seed:016x}")
            kinds = {
                kind: s.accuracy(mean, 160 if kind == "now" else 40, 0.25, last_frame=0.3)
                for kind, mean in by_kind.items()
            }
            count = sum(one.scored for one in kinds.values())
            mean = sum((one.mean or 0) * one.scored for one in kinds.values()) / count
            accuracy = s.accuracy(mean, count, 0.25, last_frame=0.3)
            measures = s.measures(cell).model_copy(update={"by_kind": kinds, "accuracy": accuracy})
            found.append(s.record(cell, Ok(measures=measures)))
    return found


def test_a_lead_that_rests_on_one_kind_is_said_to_where_it_is_recommended() -> None:
    records = planted(
        {
            "casa": {"now": 0.5, "when": 0.9, "past": 0.5},
            "token_insertion": {"now": 0.55, "when": 0.1, "past": 0.5},
            "vanilla_ca": {"now": 0.3, "when": 0.3, "past": 0.3},
        }
    )
    section = the_summary(records, tuned({name: {300: GIB} for name in s.SKILL}))
    row = body(table(section, "advice"))[0]
    assert (row[1], row[2]) == ("casa", 'rests on one kind: "when"')
    text = said(section)
    lead = 'rests on one kind of question: without "when" (40 of 240 questions)'
    assert f"The lead of casa on videoqa at 4 frames {lead}" in text
    assert f"The lead {lead}" in text
    assert "token_insertion has 0.540, casa 0.500" in text
    assert "Kinds have 40 to 160 questions; with every kind counted the same casa has 0.63" in text
    assert "hardly better than the last-frame oracle 0.30, or below it: vanilla_ca 0.30" in text
    assert "read it as undertrained here" in text


def test_a_last_frame_that_answers_most_is_no_measure_of_ignorance() -> None:
    records = planted({"casa": {"now": 0.8}, "vanilla_ca": {"now": 0.26}})
    found = []
    for one in records:
        assert isinstance(one.outcome, Ok)
        assert one.outcome.measures.accuracy is not None
        accuracy = one.outcome.measures.accuracy.model_copy(update={"oracles": {"last_frame": 1.0}})
        found.append(
            s.record(one.key, Ok(measures=one.outcome.measures.model_copy(update={"accuracy": accuracy})))
        )
    assert "hardly better than chance 0.25, or below it: vanilla_ca 0.26." in said(the_summary(found))


def test_a_lead_on_every_kind_rests_on_none() -> None:
    even = {name: dict.fromkeys(("when", "past"), skill) for name, skill in s.SKILL.items()}
    section = the_summary(planted(even), tuned({name: {300: GIB} for name in s.SKILL}))
    assert body(table(section, "advice"))[0][2] == "clear"
    assert "The lead does not depend on any one kind of question." in said(section)
    assert "counted the same" not in said(section)
    assert "The lead of" not in said(section)


def test_the_introduction_says_what_was_measured_counted_and_timed_and_where() -> None:
    timings = [timed.record({"one": timed.around(1), "two": timed.around(2, seed=1)}, 1)]
    text = said(the_summary(OK, tuned(PEAKS), timings)).splitlines()[1]
    assert text.startswith(
        "Measured: 3 methods on reference (0.70 to 0.71 million parameters, trained with up to 4 frames, "
        "seeds 0, 1 and 2) with videoqa (320 questions), on 2 processors (Example CPU @ 2.80GHz) without a "
        "GPU, on 2026-01-02. Counted without a GPU: the memory of 3 methods on large."
    )
    assert text.endswith("Timed in turns: 2 methods.")
    card = [s.record(one.key, env=s.environment(gpu="NVIDIA H100")) for one in OK]
    assert "on NVIDIA H100, on 2026-01-02" in said(the_summary(card))
    assert "on 2 machines (Provenance names them)" in said(the_summary([*OK[1:], card[0]]))
    assert "random weights, seed 0" in said(the_summary([s.record(s.key(weights="random"))]))


def test_one_seed_ties_what_fits() -> None:
    one_seed = [one for one in OK if one.key.seed == 0]
    section = the_summary(one_seed, tuned(PEAKS))
    text = said(section)
    assert body(table(section, "advice"))[0][1:3] == ["casa or vanilla_ca", "no clear winner"]
    assert "There is no clear winner on videoqa at 4 frames between casa and vanilla_ca" in text
    assert "vanilla_ca needs the least memory of them" in text
    assert "no order is claimed that involves token_insertion, casa and vanilla_ca" in text


def test_a_run_with_counted_records_alone_advises_by_memory_and_names_what_is_missing() -> None:
    text = said(the_summary(counted=tuned(PEAKS)))
    assert (
        "5-minute video, 24 GB | 2 fit; least: vanilla_ca 7 GiB | 7 GiB of 21.4 GiB | token_insertion" in text
    )
    assert "no accuracy ranks what fits" in text
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
    assert "no accuracy ranks what fits" in text
    assert "harness eval" in text


def test_one_method() -> None:
    records = [one for one in OK if one.key.method == "casa"]
    text = said(the_summary(records, tuned({"casa": PEAKS["casa"]})))
    assert f"5-minute video, 24 GB | casa | {NO_DATA} | 10 GiB of 21.4 GiB" in text
    assert "the only one with an accuracy" in text
    assert "Where curves cross" not in text


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
    section = the_summary(timings=turning)
    turns = table(section, "latency_turns")
    assert "a method is faster than one, timed in turns" in turns.caption
    assert [column.title for column in turns.columns][1] == ("prefill, counting, 8x16 pixels, random weights")
    assert body(turns) == [["two", *["from 4"] * 3]]
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
    assert "ahead of all other 2. 3 of 3 orders between two methods are claimed" in text
    assert "Not finished: token_insertion at 8 frames and 64 pixels (out of memory)." in text


def test_a_setting_claims_no_order_from_one_seed() -> None:
    text = words([one for one in OK if one.key.seed == 0])
    assert "no clear winner between it and casa and vanilla_ca" in text
    assert "None is claimed that involves token_insertion, casa and vanilla_ca" in text


def test_a_setting_claims_no_order_without_answers_to_compare() -> None:
    text = words(OK, with_samples=False)
    assert "No order between methods is claimed: the answers" in text
    assert "Most accurate" not in text


def test_a_setting_claims_no_order_between_equals() -> None:
    keys = [s.key(name, seed=seed, weights=f"{seed:016x}") for name in ("one", "two") for seed in (0, 1, 2)]
    assert "0 of 1 order between two methods are claimed" in words([s.record(key) for key in keys])


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


def test_answers_that_could_often_not_be_parsed_are_said() -> None:
    def with_unparsed(method: str, frames: int, unparsed: int) -> Record:
        cell = s.key(method, frames=frames)
        full = s.measures(cell)
        assert full.accuracy is not None
        total = full.accuracy.scored + full.accuracy.unparsed
        counts = {"scored": total - unparsed, "unparsed": unparsed}
        return s.record(
            cell, Ok(measures=full.model_copy(update={"accuracy": full.accuracy.model_copy(update=counts)}))
        )

    some = [with_unparsed("casa", 2, 40), with_unparsed("casa", 4, 80), with_unparsed("vanilla_ca", 4, 1)]
    text = said(the_summary(some))
    assert "on videoqa could not be parsed and count as wrong: up to 80 of 320 of casa." in text
    assert "could not be parsed" not in said(the_summary(some[2:]))


def test_questions_that_do_not_count_are_said() -> None:
    cell = s.key()
    full = s.measures(cell)
    assert full.accuracy is not None
    less = full.model_copy(update={"accuracy": full.accuracy.model_copy(update={"errors": 3})})
    said_of = said(the_summary([s.record(cell, Ok(measures=less))]))
    assert "Up to 3 of 323 questions of a cell on videoqa (casa) could not be asked" in said_of
    assert "could not be asked" not in said(the_summary([s.record(cell)]))
    assert "could not be asked" not in said(the_summary([s.record(cell, s.failed())]))
