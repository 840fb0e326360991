"""Every rule passes and fails, one at a time, on a run that is otherwise as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.counting.records import CountKey, Peak
from harness.errors import ExitCode, UsageError
from harness.gate.checks import Check
from tests.counted import MIB, WEIGHTS, alive, count_key, peak

from .synthetic import World, linear, rules_failed


def only_failure(world: World) -> Check:
    report = world.check()
    assert report.exit_code == ExitCode.REGRESSION
    (failure,) = report.failures
    return failure


def test_an_unchanged_run_passes_twice(green: World) -> None:
    before = green.baseline.read_bytes()
    for _ in range(2):
        report = green.check()
        assert report.exit_code == ExitCode.OK
        assert report.compared == 10
        assert {check.status for check in report.checks} == {"passed"}
    assert green.baseline.read_bytes() == before


def test_a_planted_square_breaks_the_order(green: World) -> None:
    green.formulas["casa"] = lambda key: linear(key) + 100 * key.frames**2
    assert green.check().exit_code == ExitCode.OK
    green.formulas["casa"] = lambda key: WEIGHTS + key.frames**2 * MIB
    failures = green.check().failures
    order = next(check for check in failures if check.rule == "order")
    assert "order 2.00, declared 1: " in order.message
    assert f"{WEIGHTS + 256 * MIB:,} bytes at 16" in order.message
    assert order.culprits[0].grown_bytes == (256 - 64) * MIB


def test_a_tighter_order_is_held(world: World) -> None:
    world.write("[declared.casa]\nprefill_frames = 0")
    report = world.check(update=True)
    assert report.exit_code == ExitCode.REGRESSION
    assert {check.name for check in report.failures} == {"casa · prefill · frames at 64x64"}


def test_a_weaker_order_belongs_into_the_method(world: World) -> None:
    world.write("[declared.casa]\nprefill_frames = 2")
    with pytest.raises(UsageError, match=r"weaker than the method's own 1; .*casa"):
        world.check()


def test_pixels_are_checked_where_three_resolutions_are_given(world: World) -> None:
    world.write("resolution = [32, 64, 128]")
    assert world.check(update=True).exit_code == ExitCode.OK
    world.formulas["casa"] = lambda key: WEIGHTS + key.frames * (key.height * key.width) ** 2
    failed = world.check().failures
    assert "casa · prefill · pixels at 16 frames" in {check.name for check in failed if check.rule == "order"}


def test_orders_are_of_fixed_text(world: World) -> None:
    """With text in every frame nothing is declared; the bytes are compared."""
    world.write("text_per_frame = [0, 8]")
    world.formulas["casa"] = lambda key: WEIGHTS + key.frames ** (1 + key.text_per_frame // 8) * MIB
    report = world.check(update=True)
    assert report.exit_code == ExitCode.OK
    assert report.compared == 20
    assert any(not growth.fixed_text for growth in report.growths)


def test_peaks_that_rise_and_fall_fail(green: World) -> None:
    green.write("[tolerance]\nbytes = 1_000_000_000")
    green.formulas["casa"] = lambda key: WEIGHTS + (30 * MIB if key.frames == 8 else 0)
    assert "rise and fall" in only_failure(green).message


def test_three_lines_that_seem_too_steep_ask_for_larger_sizes(green: World) -> None:
    green.write("[tolerance]\nbytes = 1_000_000_000")

    def steep(key: CountKey) -> Peak:
        return peak(WEIGHTS + {1: 1, 2: 2, 4: 3, 8: 4, 16: 90}[key.frames] * MIB, site=str(key.frames // 5))

    green.formulas["casa"] = steep
    # Three at one line are linear; what peaks at the largest size is known to be steeper.
    assert "order at least 4." in only_failure(green).message
    fixed = 50 * MIB
    green.formulas["casa"] = lambda key: peak(
        fixed + linear(key) + key.frames**2 * 10**5, site=str(key.frames)
    )
    assert "over peaks at different lines" in only_failure(green).message


def test_a_late_second_moment_of_the_same_order_is_noted(green: World) -> None:
    green.write("[tolerance]\nbytes = 1_000_000_000")

    def late(key: CountKey) -> Peak:
        first, second = key.frames * 3 * MIB, (key.frames * 4 - 5) * MIB
        return peak(WEIGHTS + max(first, second), site="late" if second > first else "early")

    green.formulas["casa"] = late
    report = green.check()
    assert report.exit_code == ExitCode.OK
    assert "lies at another line" in next(c.message for c in report.checks if c.status == "noted")


def test_a_loose_declaration_is_noted_or_fails(world: World) -> None:
    world.formulas["casa"] = lambda key: WEIGHTS
    report = world.check(update=True)
    assert report.exit_code == ExitCode.OK
    assert "these sizes show 0" in next(c.message for c in report.checks if c.status == "noted")
    world.write('loose_declarations = "fail"')
    assert "declares order 1, but order 0.00; declare 0" in only_failure(world).message


@pytest.mark.parametrize(("grown", "status"), [(0, "passed"), (65_536, "passed"), (65_537, "failed")])
@pytest.mark.parametrize("sign", [1, -1])
def test_bytes_within_64_kib_are_the_same(green: World, grown: int, status: str, sign: int) -> None:
    def at_one(key: CountKey) -> int:
        return sign * (grown if key.frames == 1 else 0) + 5 * MIB * key.frames

    green.formulas["casa"] = lambda key: 5 * MIB * key.frames
    green.check(update=True)
    green.formulas["casa"] = at_one
    cell = next(c for c in green.check().checks if c.rule == "bytes" and "casa" in c.name)
    assert cell.status == (status if sign > 0 or status == "passed" else "better")


def test_bytes_within_half_a_percent_are_the_same(green: World) -> None:
    for grown, code in ((0.0049, ExitCode.OK), (0.0051, ExitCode.REGRESSION)):
        green.formulas["casa"] = lambda key, grown=grown: round(linear(key) * (1 + grown))  # type: ignore[misc]
        assert green.check().exit_code == code


def test_a_regression_names_both_numbers_the_lines_and_the_command(green: World) -> None:
    def more(key: CountKey) -> Peak:
        leak = alive(16 * MIB, "casa.py:77", count=16, kind="activations", shape=(16, 1024))
        amount = linear(key) + 16 * MIB * (key.frames == 16)
        return peak(amount, alive=(alive(linear(key) - WEIGHTS), *((leak,) if key.frames == 16 else ())))

    green.formulas["casa"] = more
    report = green.check()
    failure = next(check for check in report.failures if check.rule == "bytes")
    assert failure.name == "casa · prefill · 16 frames · 64x64"
    assert failure.measured == 132 * MIB
    assert failure.allowed == 116 * MIB
    assert "138,412,032 bytes (132 MiB), baseline 121,634,816 bytes (116 MiB)" in failure.message
    assert "+16 MiB (+13.79 %)" in failure.message
    toml = green.folder / "harness.toml"
    assert f"run `harness check --config {toml} --update`" in failure.message
    assert str(failure.culprits[0]) == (
        "16 MiB, +16 MiB: 16 tensors, activations, up to 16x1024 bfloat16 by aten.cat at casa.py:77"
    )


def test_fewer_bytes_pass_and_say_how_to_ratchet(green: World) -> None:
    green.formulas["casa"] = lambda key: linear(key) - MIB
    report = green.check()
    assert report.exit_code == ExitCode.OK
    better = [check for check in report.checks if check.status == "better"]
    assert len(better) == 5
    assert "--update` so that it stays so" in better[0].message
    green.check(update=True)
    green.formulas["casa"] = linear
    assert green.check().exit_code == ExitCode.REGRESSION


RATIO = '[[ratio]]\nmethod = "casa"\nof = "token_insertion"\nmode = "prefill"\nmost = 0.9\n'


def test_a_ratio_holds_at_the_largest_size(green: World) -> None:
    green.write(RATIO)
    failure = only_failure(green)
    assert failure.rule == "ratio"
    assert failure.name == "casa · prefill · 16 frames · 64x64 / token_insertion"
    assert failure.message.startswith("1 times token_insertion, at most 0.9")
    green.formulas["token_insertion"] = lambda key: linear(key) + 2 * key.frames * MIB
    green.check(update=True)
    assert green.check().exit_code == ExitCode.OK


def test_a_ratio_at_given_sizes(green: World) -> None:
    green.write(RATIO + "frames = [1, 2]")
    report = green.check()
    assert [check.rule for check in report.failures] == ["ratio", "ratio"]


def test_a_ratio_without_its_reference_cell_fails(green: World) -> None:
    green.write(RATIO)
    green.dropped = {count_key("token_insertion", frames=16).digest}
    report = green.check()
    assert rules_failed(report) == {"ratio", "baseline"}
    assert "the reference token_insertion has no such cell" in report.failures[-1].message


def test_a_ratio_of_what_failed_fails(green: World) -> None:
    green.write(RATIO)
    green.formulas["casa"] = lambda key: "broken"
    ratio = next(check for check in green.check().failures if check.rule == "ratio")
    assert "casa could not be counted" in ratio.message


def test_a_ratio_of_a_method_that_is_not_counted_is_a_usage_error(green: World) -> None:
    green.write(RATIO.replace('"token_insertion"', '"flamingo"'))
    with pytest.raises(UsageError, match="not one of methods"):
        green.check()


def test_without_a_baseline_nothing_is_compared(world: World) -> None:
    report = world.check()
    assert report.exit_code == ExitCode.NOTHING_MEASURED
    assert report.compared == 0
    assert "run `harness check" in report.notes[0]
    assert not world.baseline.exists()


def test_a_regression_without_a_baseline_is_one(world: World) -> None:
    world.formulas["casa"] = lambda key: WEIGHTS + key.frames**2 * MIB
    assert world.check().exit_code == ExitCode.REGRESSION


def test_a_new_cell_without_a_baseline_fails(green: World) -> None:
    green.write("frames = [1, 2, 4, 8, 16, 32]")
    report = green.check()
    assert report.exit_code == ExitCode.REGRESSION
    assert [check.rule for check in report.failures] == ["baseline", "baseline"]
    assert "the baseline has no such cell" in report.failures[0].message


def test_when_all_cells_are_new_nothing_is_compared(green: World) -> None:
    green.write("frames = [3, 6, 12]")
    report = green.check()
    assert report.compared == 0
    assert report.exit_code == ExitCode.NOTHING_MEASURED


def test_a_new_failure_fails(green: World) -> None:
    green.formulas["casa"] = lambda key: "aten.nonzero needs values" if key.frames == 4 else linear(key)
    failure = only_failure(green)
    assert failure.rule == "counting"
    assert failure.message == "could not be counted: aten.nonzero needs values"


def test_when_everything_fails_nothing_was_measured(green: World) -> None:
    green.formulas = dict.fromkeys(green.formulas, lambda key: "broken")
    assert green.check().exit_code == ExitCode.NOTHING_MEASURED


def test_without_a_baseline_failures_say_why(world: World) -> None:
    world.formulas = dict.fromkeys(world.formulas, lambda key: f"broken by {key.method}")
    report = world.check()
    assert report.exit_code == ExitCode.NOTHING_MEASURED
    for method in ("casa", "token_insertion"):
        name = f"{method} · prefill · 1 frame · 64x64"
        assert f"{name} could not be counted: broken by {method}" in report.notes
    assert len(report.notes) == 3


def test_failures_enter_a_baseline_only_when_named(world: World) -> None:
    world.formulas["casa"] = lambda key: "broken"
    with pytest.raises(UsageError, match=r"is not written: casa · prefill · 1 frame .*known_failures"):
        world.check(update=True)
    assert not world.baseline.exists()
    world.write('known_failures = ["casa"]')
    assert world.check(update=True).exit_code == ExitCode.OK
    world.write()
    assert world.check().exit_code == ExitCode.OK
    assert world.check(update=True).exit_code == ExitCode.OK
    world.formulas["casa"] = linear
    report = world.check()
    assert report.exit_code == ExitCode.OK
    assert sum(check.status == "better" for check in report.checks) == 5


def test_a_cell_that_vanishes_fails_unless_the_configuration_changed(green: World) -> None:
    baseline = green.check().baseline
    assert baseline is not None
    green.dropped = {next(iter(baseline.cells))}
    failure = only_failure(green)
    assert failure.rule == "baseline"
    assert "though the configuration asks for the same" in failure.message
    green.dropped = set()
    green.write("frames = [1, 2, 4, 8]")
    report = green.check()
    assert report.exit_code == ExitCode.OK
    assert sum(check.status == "noted" for check in report.checks) == 2


def test_too_few_sizes_that_were_counted_fail(green: World) -> None:
    green.formulas["casa"] = lambda key: "broken" if key.frames < 8 else linear(key)
    order = next(check for check in green.check().failures if check.rule == "order")
    assert order.message == "2 size(s) were counted, an order needs 3"


def test_real_tensors_are_noted(green: World) -> None:
    green.formulas["casa"] = lambda key: peak(linear(key), substrate="cpu", reason="aten.item at casa.py:3")
    assert "casa was counted on real tensors, up to 116 MiB: aten.item at casa.py:3" in green.check().notes


def test_the_command_keeps_its_options(green: World, tmp_path: Path) -> None:
    other = tmp_path / "a b.json"
    command = green.check(baseline=other).update_command
    assert command.endswith(f"--baseline '{other}' --update")
