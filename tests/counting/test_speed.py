"""The speed benchmark of counting runs, says what it should, and times nothing that has no peak."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import counting_speed
from benchmarks.counting_speed import NotCountedError, checked, main, peak_alone
from harness.counting.run import count_one
from harness.spec import MethodSpec

from ..counted import count_key, record
from .keys import key


@pytest.fixture(autouse=True)
def least(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(counting_speed.SMALL, methods=(MethodSpec("vanilla_ca"),), frames=(1, 2))
    monkeypatch.setattr(counting_speed, "SMALL", small)


def test_it_says_seconds_per_cell_and_both_ratios(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = counting_speed.measure(counting_speed.SMALL, repetitions=2, ratios=2)
    assert [(cell["frames"], len(cell["processor_s"])) for cell in results["cells"]] == [(1, 2), (2, 2)]
    monkeypatch.setattr(counting_speed, "measure", lambda *_: results)
    main(["--quick"])
    out = capsys.readouterr().out
    for words in (
        "| frames | vanilla_ca |",
        "| 2 | ",
        "whole grid: ",
        "peak host memory: ",
        "/ peak alone, vanilla_ca: ",
        "without storage / real, vanilla_ca: ",
    ):
        assert words in out
    main(["--quick", "--json"])
    assert json.loads(capsys.readouterr().out) == results


def test_a_scenario_without_a_peak_is_not_timed() -> None:
    with pytest.raises(NotCountedError, match=r"casa, 8 frames: .*planted"):
        checked(record(count_key(), "planted"))


def test_the_peak_alone_is_the_same_peak() -> None:
    whole = count_one(key()).peak
    with peak_alone():
        alone = count_one(key()).peak
    assert whole is not None
    assert alone is not None
    assert alone.peak_bytes == whole.peak_bytes
    assert (alone.counted.flops, alone.counted.bytes_moved) == (0, 0)
    again = count_one(key()).peak
    assert again is not None
    assert again.counted == whole.counted
