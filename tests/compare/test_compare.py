"""Comparisons of stores in which the truth is planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.compare.places import Filters
from harness.compare.results import PairResult
from harness.compare.run import compare_sides
from harness.compare.sides import find_sides
from harness.compare.words import difference_text, verdict
from harness.errors import UsageError
from harness.timing.records import PHASES
from harness.timing.store import open_timings, write_timing
from tests.compare.stores import QUESTIONS, cell, rate
from tests.measured import memory_of
from tests.report import synthetic as s
from tests.timing import made


def compared(folder: Path, filters: Filters | None = None) -> PairResult:
    pairs, _ = find_sides("alpha", "beta", folder)
    return compare_sides(pairs, filters)[0]


def trained(folder: Path, alpha: float, beta: float, seeds: int = 3, per_clip: int = 1) -> None:
    for seed in range(seeds):
        cell(folder, "alpha", rate(seed, alpha), seed=seed, per_clip=per_clip)
        cell(folder, "beta", rate(100 + seed, beta), seed=seed, per_clip=per_clip)


def test_a_planted_difference_is_found_and_claimed(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5)
    result = compared(tmp_path)
    overall = result.places[0].overall
    assert overall is not None
    assert overall.borne
    assert overall.difference.low < 0.3 < overall.difference.high
    assert overall.first - overall.second == pytest.approx(overall.difference.mean)
    assert overall.seed_spread is not None
    assert overall.seed_spread.models == 3
    lines = verdict(result)
    assert lines[0].startswith("alpha is more accurate than beta at videoqa, 8 frames, 64 pixels, by +0.")
    assert "not luck: every seed" in lines[0]
    backwards = verdict(compare_sides(find_sides("beta", "alpha", tmp_path)[0])[0])
    assert backwards[0].startswith("alpha is more accurate than beta at videoqa")


def test_identical_answers_have_no_difference(tmp_path: Path) -> None:
    for seed in range(2):
        cell(tmp_path, "alpha", rate(seed, 0.7), seed=seed)
        cell(tmp_path, "beta", rate(seed, 0.7), seed=seed)
    result = compared(tmp_path)
    assert all(one.difference.mean == 0 and one.adjusted_p == 1 for one in result.places[0].answers)
    line = verdict(result)[0]
    assert line == "alpha and beta have equal scores on every question at videoqa, 8 frames, 64 pixels."
    assert all(one.equal and difference_text(one) == "equal" for one in result.places[0].answers)


def test_equal_totals_of_different_answers_are_not_called_equal_answers(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: float(index % 2))
    cell(tmp_path, "beta", lambda index: float(index % 2 == 0))
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert (overall.difference.mean, overall.equal) == (0, False)
    assert "equal scores in total" in verdict(compared(tmp_path))[0]
    assert difference_text(overall).startswith("+0.000 [")


def test_costs_that_are_the_same_are_called_equal(tmp_path: Path) -> None:
    trained(tmp_path / "one", alpha=0.8, beta=0.5)
    trained(tmp_path / "two", alpha=0.8, beta=0.5)
    for result in compare_sides(find_sides(str(tmp_path / "one"), str(tmp_path / "two"), None)[0]):
        text = " ".join(verdict(result))
        assert "Equal on both sides: peak memory and state between frames." in text
        assert "+0.000" not in text
        assert "1.00 times" not in text


def test_a_small_difference_is_not_claimed_and_says_what_it_would_take(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: float(index % 10 < 7))
    cell(tmp_path, "beta", lambda index: float(index % 10 < 7 and index > 2))
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert (overall.difference.gained, overall.difference.lost) == (3, 0)
    # Three discordant questions: the standard error that the interval shows is about 0.009 at 240 questions.
    needed = overall.questions_needed
    assert needed is not None
    assert QUESTIONS < needed < 10 * QUESTIONS
    assert "would take about" in verdict(compared(tmp_path))[0]


def test_no_number_of_questions_is_asked_for_that_was_asked_already(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: float(index % 10 < 7))
    cell(tmp_path, "beta", lambda index: float(index % 10 < 2))
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert overall.difference.mean == pytest.approx(0.5)
    assert overall.questions_needed is None


def test_seeds_that_disagree_are_not_claimed(tmp_path: Path) -> None:
    for seed, right in enumerate((0.95, 0.95, 0.4)):
        cell(tmp_path, "alpha", rate(seed, right), seed=seed)
        cell(tmp_path, "beta", rate(100 + seed, 0.5), seed=seed)
    result = compared(tmp_path)
    overall = result.places[0].overall
    assert overall is not None
    assert overall.adjusted_p < 0.05
    assert not overall.borne
    assert "the seeds of both overlap" in verdict(result)[0]
    assert "no order is claimed" in verdict(result)[0]


def test_one_model_a_side_is_not_claimed(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.9, beta=0.4, seeds=1)
    result = compared(tmp_path)
    assert not any(one.borne for one in result.places[0].answers)
    assert {one.difference.test for one in result.places[0].answers} == {"McNemar mid-p"}
    assert "one trained model on a side" in verdict(result)[0]


def test_kinds_are_told_apart_and_corrected_together(tmp_path: Path) -> None:
    for seed in range(2):
        cell(tmp_path, "alpha", rate(seed, 0.5, now=0.95), seed=seed)
        cell(tmp_path, "beta", rate(seed, 0.5, now=0.5), seed=seed)
    answers = {one.kind: one for one in compared(tmp_path).places[0].answers}
    assert set(answers) == {None, "now", "past"}
    assert answers["now"].borne
    assert not answers["past"].borne
    assert answers["now"].adjusted_p > answers["now"].difference.p_value
    assert any(
        line == "By kind of question, more accurate: alpha on now (1 place)."
        for line in verdict(compared(tmp_path))
    )


def test_a_lead_that_rests_on_one_kind_is_said_to(tmp_path: Path) -> None:
    for seed in range(2):
        cell(tmp_path, "alpha", rate(seed, 0.6, now=0.95), seed=seed)
        cell(tmp_path, "beta", rate(seed, 0.7, now=0.3), seed=seed)
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert overall.borne
    now, past = overall.without
    assert (now.kind, now.asked, now.remaining) == ("now", QUESTIONS // 2, QUESTIONS // 2)
    assert (now.turned, now.stands, past.turned, past.stands) == (True, False, False, True)
    leading, other = now.means
    (line,) = [line for line in verdict(compared(tmp_path)) if line.startswith("Without")]
    assert line.startswith('Without "now" (120 of 240 questions) ')
    assert f"beta has {other:.3f}, alpha {leading:.3f}." in line


def test_a_lead_on_every_kind_rests_on_none(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.9, beta=0.4)
    assert "That lead does not depend on any one kind of question." in verdict(compared(tmp_path))


def test_only_questions_of_both_count(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: 1.0, questions=range(0, 120))
    cell(tmp_path, "beta", lambda index: 0.0, questions=range(100, 240))
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert (overall.difference.questions, overall.difference.mean) == (20, 1.0)


def test_disjoint_questions_leave_costs_only(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: 1.0, questions=range(0, 100))
    cell(tmp_path, "beta", lambda index: 0.0, questions=range(100, 240))
    result = compared(tmp_path)
    assert result.places[0].answers == ()
    assert result.places[0].peak is not None
    assert "no question was scored on both sides" in result.refused[0]
    assert verdict(result)[0].startswith("Accuracy is not compared")


def test_questions_without_a_score_do_not_count_as_wrong(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: None if index < 40 else 1.0)
    cell(tmp_path, "beta", lambda index: 1.0)
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert (overall.difference.questions, overall.difference.mean) == (QUESTIONS - 40, 0.0)


def test_answers_of_one_clip_are_kept_together(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5, per_clip=4)
    overall = compared(tmp_path).places[0].overall
    assert overall is not None
    assert overall.difference.groups == QUESTIONS // 4
    assert overall.difference.test == "sign flips mid-p"


def test_costs_are_differences_and_ratios(tmp_path: Path) -> None:
    memory = memory_of(s.measures(s.key()))
    for method, peak in (("alpha", 3000), ("beta", 2000)):
        changed = memory.model_copy(update={"peak_bytes": peak, "state_bytes": {}})
        cell(tmp_path, method, lambda index: 1.0, measures={"memory": changed})
    place = compared(tmp_path).places[0]
    assert place.peak is not None
    assert (place.peak.difference, place.peak.ratio) == (1000, 1.5)
    assert place.state is None
    assert set(place.times) == {"encode", "prefill", "per frame", "per token"}
    assert "alpha takes 1.50 times the peak memory of beta." in verdict(compared(tmp_path))


def test_counted_and_allocated_bytes_are_not_compared(tmp_path: Path) -> None:
    memory = memory_of(s.measures(s.key()))
    cell(tmp_path, "alpha", lambda index: 1.0)
    cell(
        tmp_path, "beta", lambda index: 1.0, measures={"memory": memory.model_copy(update={"source": "cuda"})}
    )
    assert compared(tmp_path).places[0].peak is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("backbone", "other", 'backbone "reference" against "other"'),
        ("dtype", "bfloat16", 'dtype "float32" against "bfloat16"'),
        ("device", "cuda", 'device "cpu" against "cuda"'),
        ("limit", 50, "limit null against 50"),
        ("view_seed", 3, "view_seed 0 against 3"),
        ("task_version", 2, "task_version 1 against 2"),
        ("task_config", {"hard": True}, 'task_config {} against {"hard": true}'),
        ("batch", 1, "batch 16 against 1"),
    ],
)
def test_other_settings_are_never_compared_and_are_named(
    tmp_path: Path, field: str, value: Any, said: str
) -> None:
    cell(tmp_path, "alpha", lambda index: 1.0)
    cell(tmp_path, "beta", lambda index: 0.0, **{field: value})
    result = compared(tmp_path)
    assert result.places == ()
    assert said in result.refused[0]


def test_two_settings_of_one_place_are_told_apart(tmp_path: Path) -> None:
    for limit in (None, 50):
        for method in ("alpha", "beta"):
            cell(tmp_path, method, lambda index: 1.0, limit=limit)
    places = compared(tmp_path).places
    assert {place.where(places) for place in places} == {"videoqa (limit None)", "videoqa (limit 50)"}
    assert places[0].where(places[:1]) == "videoqa"


def test_other_frames_are_not_the_same_input(tmp_path: Path) -> None:
    cell(tmp_path, "alpha", lambda index: 1.0)
    cell(tmp_path, "beta", lambda index: 0.0, measures={"frames_digest": "e" * 16})
    result = compared(tmp_path)
    assert result.places == ()
    assert "not the same input" in result.refused[0]


def test_failed_cells_and_places_of_one_side_are_named(tmp_path: Path) -> None:
    for method in ("alpha", "beta"):
        cell(tmp_path, method, lambda index: 1.0)
    cell(tmp_path, "alpha", lambda index: 1.0, frames=16)
    cell(tmp_path, "beta", lambda index: 1.0, frames=16, outcome=s.failed())
    cell(tmp_path, "alpha", lambda index: 1.0, frames=32)
    result = compared(tmp_path)
    assert len(result.places) == 1
    assert result.refused == (
        "videoqa, 16 frames, 64 pixels: beta was not measured (1 cell, failed: out of memory)",
        "videoqa, 32 frames, 64 pixels: beta has no cell there",
    )


def test_answers_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5, seeds=2)
    broken = sorted((tmp_path / "samples").iterdir())[0]
    broken.write_bytes(b"")
    result = compared(tmp_path)
    assert [problem.path for problem in result.problems] == [broken]
    assert result.places[0].answers == ()


def test_random_weights_say_nothing_of_accuracy(tmp_path: Path) -> None:
    for method in ("alpha", "beta"):
        cell(tmp_path, method, lambda index: 1.0, weights="random")
    lines = verdict(compared(tmp_path))
    assert lines[0].startswith("The models have random weights")
    assert not any("accurate than" in line for line in lines)


def test_filters(tmp_path: Path) -> None:
    for frames in (1, 8):
        for method in ("alpha", "beta"):
            cell(tmp_path, method, lambda index: 1.0, frames=frames)
    assert [one.place.frames for one in compared(tmp_path, Filters(frames=(8,))).places] == [8]
    assert len(compared(tmp_path, Filters(tasks=("videoqa",), resolutions=((64, 64),))).places) == 2
    with pytest.raises(UsageError, match="unknown number of frames '9'"):
        compared(tmp_path, Filters(frames=(9,)))
    with pytest.raises(UsageError, match=r"unknown task 'videoq': did you mean 'videoqa'\?"):
        compared(tmp_path, Filters(tasks=("videoq",)))


def test_runs_are_compared_method_by_method(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, right in ((before, 0.5), (after, 0.9)):
        for seed in range(2):
            cell(folder, "alpha", rate(seed, right), seed=seed)
            cell(folder, "beta", rate(seed, 0.6), seed=seed)
    cell(after, "gamma", rate(0, 0.6))
    pairs, problems = find_sides(str(before), str(after), None)
    assert [first.label for first, _ in pairs] == ["alpha", "beta"]
    assert problems == []
    alpha, beta = compare_sides(pairs)
    assert verdict(alpha)[0].startswith(f"{after}::alpha is more accurate than {before}::alpha")
    assert "have equal scores on every question" in verdict(beta)[0]
    crossed, _ = find_sides(f"{before}::alpha", f"{after}::beta", None)
    assert [side.label for side in crossed[0]] == ["alpha", "beta"]


def test_files_that_do_not_count_are_listed(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5, seeds=1)
    (tmp_path / "records" / "old.json").write_text('{"schema_version": 0}')
    _, problems = find_sides("alpha", "beta", tmp_path)
    assert [problem.path.name for problem in problems] == ["old.json"]


def test_configs_of_one_method_have_labels_of_their_own(tmp_path: Path) -> None:
    for gists in (2, 8):
        cell(tmp_path, "alpha", lambda index: 1.0, method_config={"gists": gists})
    pairs, _ = find_sides("alpha [gists=2]", "alpha [gists=8]", tmp_path)
    assert len(compare_sides(pairs)[0].places) == 1


def test_what_is_neither_run_nor_label_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5, seeds=1)
    with pytest.raises(UsageError, match=r"unknown method 'alpa' of .*: did you mean 'alpha'\?"):
        find_sides("alpa", "beta", tmp_path)
    with pytest.raises(UsageError, match="both sides are 'alpha'"):
        find_sides("alpha", "alpha", tmp_path)
    with pytest.raises(UsageError, match="is a run and 'beta' a method"):
        find_sides(str(tmp_path), "beta", tmp_path)
    with pytest.raises(UsageError, match="is no RUN::METHOD"):
        find_sides("::alpha", "beta", tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(UsageError, match="give --run DIR"):
        find_sides("alpha", "beta", None)


def test_times_measured_in_turns_have_ratios_within_a_run_only(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        trained(folder, alpha=0.8, beta=0.5)
    open_timings(run)
    slow = [2.0, 2.1, 1.9, 2.05, 1.95, 2.0, 2.0]
    write_timing(run, made.record({"beta": [1.0] * 7, "alpha": slow}, frames=8))
    write_timing(
        run, made.record({"beta": [1.0] * 7, "alpha": [0.9, 1.1, 0.8, 1.2, 1.0, 0.95, 1.05]}, frames=16)
    )
    result = compared(run)
    told = {(one.frames, one.phase): one for one in result.interleaved}
    assert set(told) == {(frames, phase) for frames in (8, 16) for phase in PHASES}
    assert told[8, "prefill"].ratio == pytest.approx(2.0)
    assert told[8, "prefill"].low <= 2.0 <= told[8, "prefill"].high
    assert told[8, "prefill"].told
    assert not told[16, "prefill"].told
    (line,) = [line for line in verdict(result) if line.startswith("Timed in turns")]
    assert "alpha takes, beside beta, 2.00 times as long for prefill (clear at 1 of 2 sizes)" in line
    backwards = compare_sides(find_sides("beta", "alpha", run)[0])[0]
    assert [one.ratio for one in backwards.interleaved if one.frames == 8] == pytest.approx([0.5] * 3)
    narrowed = compared(run, Filters(frames=(8,)))
    assert {one.frames for one in narrowed.interleaved} == {8}
    across = compare_sides(find_sides(f"{run}::alpha", f"{other}::beta", None)[0])[0]
    assert across.interleaved == ()


def test_a_size_timed_with_trained_and_with_random_weights_is_one_size_of_each(tmp_path: Path) -> None:
    trained(tmp_path, alpha=0.8, beta=0.5)
    open_timings(tmp_path)
    slow = [2.0, 2.1, 1.9, 2.05, 1.95, 2.0, 2.0]
    record = made.record({"beta": [1.0] * 7, "alpha": slow}, frames=8)
    methods = tuple(one.model_copy(update={"weights": "0" * 16}) for one in record.key.methods)
    write_timing(tmp_path, record)
    write_timing(
        tmp_path, record.model_copy(update={"key": record.key.model_copy(update={"methods": methods})})
    )
    lines = [line for line in verdict(compared(tmp_path)) if line.startswith("Timed in turns")]
    assert len(lines) == 2
    assert {"trained" if "with trained weights" in line else "random" for line in lines} == {
        "trained",
        "random",
    }
    assert all("(clear at 1 of 1 size)" in line for line in lines)
