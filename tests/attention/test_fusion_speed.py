"""The speed benchmark runs, says what it should, and refuses to compare what differs. No time is judged."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import fusion_speed
from benchmarks.fusion_speed import LogitsDifferError, check_logits, growth_orders, main
from benchmarks.interleaved import compare
from harness.fusion_impls.token_insertion import TokenInsertionConfig


def test_a_quick_run_has_every_ratio_and_agreeing_logits(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--json"])
    document = json.loads(capsys.readouterr().out)
    for method in fusion_speed.WINDOWED:
        result = document["windows"][method]
        assert [point["frames"] for point in result["points"]] == [2, 4, 8]
        assert all(point["difference"] <= 1e-4 for point in result["points"])
        # Counted bytes repeat exactly, so these orders are no measurement of time.
        assert result["memory_order"]["blocks"][0] == pytest.approx(1.0, abs=0.05)
        assert result["memory_order"]["reference"][0] > 1.3
    results = document["plain"].values()
    assert {result["dtype"] for result in results} == {"float32", "bfloat16"}
    for result in results:
        assert set(result["stages"]) == {"prefill", "append", "decode"}
        assert all(stage["routes"] == ["blocks/flash:cpu"] for stage in result["stages"].values())
        assert all(stage["time"]["repetitions"] >= 2 for stage in result["stages"].values())


def test_differing_logits_give_no_speed() -> None:
    logits = torch.tensor([[1.0, -2.0]])
    assert check_logits(logits, logits, "same") == 0
    with pytest.raises(LogitsDifferError, match=r"prefill: the logits differ by 5.0e-02"):
        check_logits(logits, logits + torch.tensor([[0.1, 0.0]]), "prefill")
    with pytest.raises(LogitsDifferError):
        check_logits(logits * torch.nan, logits, "not a number")


def test_a_wrong_method_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = TokenInsertionConfig(positions="one_per_frame")
    monkeypatch.setattr(fusion_speed, "TokenInsertionConfig", lambda positions: wrong)
    with pytest.raises(LogitsDifferError, match="smallest, prefill"):
        main(["--quick", "--part", "plain"])


def test_orders_of_growth_ignore_what_does_not_grow() -> None:
    sizes = [4, 8, 16, 32]
    assert growth_orders([7 + 3 * n for n in sizes]) == pytest.approx([1, 1])
    assert growth_orders([7 + n * n for n in sizes]) == pytest.approx([2, 2])


def test_a_repetition_has_both_sides_in_both_orders() -> None:
    order: list[str] = []
    ratio = compare(lambda: lambda: order.append("ours"), lambda: lambda: order.append("theirs"), 0.0, 3)
    assert ratio.repetitions == 3
    assert order == ["ours", "theirs", *["theirs", "ours", "ours", "theirs"] * 3]
