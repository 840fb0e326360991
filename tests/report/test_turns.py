"""Times that were measured in turns, at the sizes of cells: who is compared, and who cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from harness.records import Failed, Ok, Record
from harness.report.document import Figure, Notice
from harness.report.frame import records_to_frame
from harness.report.plots.model import Lines, Plot, Series
from harness.report.plots.pareto import front, unbeaten
from harness.report.plots.turns import in_turns
from harness.report.sections import task
from harness.report.sections.task import section, setting_list
from harness.report.timed import timed_sizes
from harness.timing.records import PHASES, Rounds, Timed, TimingRecord
from tests.report import synthetic as s
from tests.report.made import body, evidence, said, table, timing
from tests.timing import made

NOISY = (0.8, 1.25, 0.9, 1.15, 1.0, 0.85, 1.2)
"""Of one round, beside 1: its interval holds 1."""


TIMES = {"token_insertion": made.around(4), "vanilla_ca": made.around(2, seed=1), "casa": made.around(8)}
RUN = s.run(frames=(4, 8), resolutions=(64,), seeds=(0, 1))
"""Token insertion runs out of memory at 8 frames."""


def sizes(
    *records: TimingRecord, run: Sequence[Record] = RUN
) -> list[tuple[tuple[int, int, int], list[str]]]:
    return [(one.place, list(one.times)) for one in timed_sizes(records_to_frame(run), records, {})]


def test_a_size_is_taken_with_the_methods_that_have_cells_there() -> None:
    assert sizes(timing(TIMES, frames=4), timing(TIMES)) == [
        ((4, 64, 64), ["token_insertion", "vanilla_ca", "casa"]),
        ((8, 64, 64), ["token_insertion", "vanilla_ca", "casa"]),
    ]
    assert sizes(timing(TIMES, frames=64)) == []
    out_of_memory: dict[str, Sequence[float] | Failed] = {**TIMES, "casa": made.FAILED}
    assert sizes(timing(out_of_memory, 4)) == [((4, 64, 64), ["token_insertion", "vanilla_ca"])]
    assert sizes(timing({"casa": TIMES["casa"]}, 4)) == [], "one method is no pair"


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "multi_image"},
        {"task_version": 2},
        {"task_config": {"clips": 3}},
        {"backbone": "other"},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"view_seed": 1},
        {"height": 32},
        {"methods": made.key(list(TIMES)).methods},
    ],
)
def test_what_was_timed_otherwise_is_not_taken(changes: dict[str, object]) -> None:
    assert sizes(timing(TIMES, 4, **changes)) == []


def test_the_record_with_the_most_methods_stands_for_a_size() -> None:
    few = timing({name: TIMES[name] for name in ("vanilla_ca", "casa")}, 4)
    for records in ([few, timing(TIMES, 4)], [timing(TIMES, 4), few]):
        assert sizes(*records)[0][1] == ["token_insertion", "vanilla_ca", "casa"]


def test_faster_is_what_the_interval_tells() -> None:
    ((size),) = timed_sizes(
        records_to_frame(RUN), [timing({**TIMES, "casa": tuple(4 * ms for ms in NOISY)}, 4)], {}
    )
    assert size.base == "token_insertion"
    assert size.faster("prefill", "vanilla_ca", "token_insertion")
    assert not size.faster("prefill", "token_insertion", "vanilla_ca")
    assert not size.faster("prefill", "casa", "token_insertion")
    assert not size.faster("prefill", "token_insertion", "casa")
    assert size.fastest("prefill") == ("vanilla_ca", [])


def series(plot: Plot, role: str, panel: int = 0) -> list[Series]:
    shown = plot.panels[panel]
    assert isinstance(shown, Lines)
    return [one for one in shown.series if one.role == role]


def plotted(times: Mapping[str, Sequence[float]], run: Sequence[Record] = RUN) -> Plot:
    cells = records_to_frame(run)
    return in_turns(cells[cells["frames"] == 4], timed_sizes(cells, [timing(times, 4)], {}))


def test_the_plot_holds_ratios_with_intervals_and_no_line() -> None:
    plot = plotted(TIMES)
    measured = {one.method: one for one in series(plot, "measured")}
    assert list(measured) == ["token_insertion", "vanilla_ca", "casa"]
    assert measured["token_insertion"].x == (1.0,)
    assert measured["token_insertion"].x_low == ()
    (ratio,), (low,), (high,) = (getattr(measured["vanilla_ca"], name) for name in ("x", "x_low", "x_high"))
    assert low < ratio < high
    assert ratio == pytest.approx(0.5, rel=0.1)
    assert "of token_insertion's time, 95 % [" in measured["vanilla_ca"].hover[0]
    assert series(plot, "front") == []
    assert plot.panels[0].title == "4 frames, 64 pixels"


def ringed(plot: Plot) -> set[str]:
    """The methods around which rings are drawn."""
    (rings,) = series(plot, "unbeaten")
    at = {(one.x[0], one.y[0]): one.method for one in series(plot, "measured")}
    return {str(at[point]) for point in zip(rings.x, rings.y, strict=True)}


def test_a_method_that_is_slower_and_less_accurate_is_beaten() -> None:
    assert ringed(plotted(TIMES)) == {"token_insertion", "vanilla_ca"}, "casa is slower and less accurate"
    assert ringed(plotted({**TIMES, "casa": made.around(1)})) == {"token_insertion", "casa"}


def test_what_cannot_be_told_apart_stays_on_the_front() -> None:
    """Equal accuracies, and a time that is longer by less than the rounds differ."""
    run = [s.record(s.key(name, frames=4)) for name in ("token_insertion", "vanilla_ca")]
    full = [one.outcome for one in run if isinstance(one.outcome, Ok)]
    same = [
        one.model_copy(update={"outcome": Ok(measures=outcome.measures.model_copy(update=ACCURACY))})
        for one, outcome in zip(run, full, strict=True)
    ]
    close = {"token_insertion": [1.0] * 7, "vanilla_ca": [1.02 * ms for ms in NOISY]}
    assert ringed(plotted(close, same)) == {"token_insertion", "vanilla_ca"}
    apart = {"token_insertion": made.around(1), "vanilla_ca": made.around(1.3, seed=1)}
    assert ringed(plotted(apart, same)) == {"token_insertion"}


ACCURACY = {"accuracy": s.accuracy(0.5, 100, 0.1)}


def test_where_everything_can_be_told_the_front_is_pareto_s() -> None:
    costs, values = [3.0, 1.0, 2.0, 4.0, 2.5], [0.9, 0.2, 0.5, 0.8, 0.4]
    assert unbeaten(costs, values, lambda *_: True) == front(costs, values)
    assert unbeaten(costs, values, lambda *_: False) == sorted(range(5), key=costs.__getitem__)


def test_a_section_compares_times_of_turns_and_calls_the_others_single() -> None:
    found = evidence(RUN, timings=[timing(TIMES, 4)])
    (setting,) = setting_list(found)
    shown = section(setting, found)
    figures = [block for block in shown.walk() if isinstance(block, Figure)]
    names = [one.name for one in figures]
    assert names[-3:-1] == ["videoqa_accuracy_turns", "videoqa_accuracy_latency"]
    by_name = {one.name: one for one in figures}
    assert by_name["videoqa_accuracy_latency"].caption.startswith("Sizes that were not timed in turns")
    assert series(by_name["videoqa_accuracy_latency"].plot, "front") == []
    assert setting.place == (4, 64, 64)
    rows = {row[0]: row for row in body(table(shown, "videoqa_overview"))}
    assert rows["token_insertion"][6:9] == ["1", "1", "1"]
    assert rows["vanilla_ca"][6].startswith("0.5")
    assert "Fastest at 4 frames, 64 pixels, timed in turns: prefill, without vision encoding: vanilla_ca" in (
        said(shown)
    )
    commands = table(shown, "videoqa_overview").source
    assert any("--table ratios" in line for line in commands.records)
    assert any(line.startswith("harness time") for line in commands.measure)


def test_without_turns_nothing_is_said_of_who_is_fastest() -> None:
    found = evidence(RUN)
    (setting,) = setting_list(found)
    shown = section(setting, found)
    assert "Fastest" not in said(shown)
    assert "differences between methods may be chance" in said(shown)
    assert "appended frame at" not in said(shown)
    names = [block.name for block in shown.walk() if isinstance(block, Figure)]
    assert "videoqa_accuracy_turns" not in names
    assert "videoqa_accuracy_latency" in names


def test_one_round_has_no_interval_and_tells_nothing() -> None:
    once = {
        name: Timed(phases={phase: Rounds(raw_ms=(ms,), inner=1) for phase in PHASES}) for name, ms in ONCE
    }
    record = timing({name: made.around(1) for name in once}, 4)
    record = record.model_copy(update={"rounds": 1, "outcomes": tuple(once.values())})
    cells = records_to_frame(RUN)
    (size,) = timed_sizes(cells, [record], {})
    assert size.fastest("prefill") == ("vanilla_ca", ["token_insertion"])
    plot = in_turns(cells, [size])
    assert all(one.x_low == () for one in series(plot, "measured"))


ONCE = (("token_insertion", 4.0), ("vanilla_ca", 2.0))


def test_the_task_s_own_metrics_have_a_table_with_the_spread_over_seeds() -> None:
    def scored(seed: int, value: float | None) -> Record:
        key = s.key("casa", seed=seed)
        return s.record(key, Ok(measures=s.measures(key, aggregates={"mme_score": value, "acc": 0.5})))

    found = evidence([scored(0, 1200.0), scored(1, 1300.0), s.record(s.key("vanilla_ca"))])
    (setting,) = setting_list(found)
    shown = table(section(setting, found), "videoqa_metrics")
    assert body(shown) == [
        ["acc", "casa", "8", "64", "0.5000", "0.5000 to 0.5000", "2"],
        ["mme_score", "casa", "8", "64", "1,250", "1,200 to 1,300", "2"],
    ]
    assert "the task's own scale" in shown.caption
    none = evidence([scored(0, None)])
    rows = body(table(section(setting_list(none)[0], none), "videoqa_metrics"))
    assert rows[1][4:] == ["–", "–", "0"]  # noqa: RUF001
    assert "videoqa_metrics" not in [
        getattr(block, "name", "") for block in section(setting_list(evidence(RUN))[0], evidence(RUN)).walk()
    ]


def test_a_broken_overview_leaves_the_rest_of_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("planted")

    monkeypatch.setattr(task, "overview_table", broken)
    found = evidence(RUN)
    with pytest.warns(UserWarning, match="planted"):
        shown = section(setting_list(found)[0], found)
    assert any(isinstance(block, Notice) for block in shown.blocks)
    assert any(isinstance(block, Figure) for block in shown.walk())
