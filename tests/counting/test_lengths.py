"""Decoding at a given number of cached rows."""

from __future__ import annotations

import pytest

from harness.counting.run import count, scenarios
from harness.counting.spec import CountSpec
from harness.errors import UsageError
from harness.spec import MethodSpec


@pytest.mark.parametrize("method", ["token_insertion", "casa", "vanilla_ca", "voco"])
def test_the_cache_holds_so_many_rows_before_the_token(method: str) -> None:
    methods = (MethodSpec(method),)
    records = count(CountSpec(methods=methods, modes=("decode",), frames=(1, 3), kv_tokens=200))
    assert [record.peak.kv_tokens for record in records if record.peak] == [201, 201]


def test_frames_that_hold_more_rows_and_other_modes_are_refused() -> None:
    methods = (MethodSpec("token_insertion"),)
    with pytest.raises(
        UsageError, match=r"kv-tokens 40 is too few: token_insertion holds 50 rows with 3 frame"
    ):
        count(CountSpec(methods=methods, modes=("decode",), frames=(3,), kv_tokens=40))
    with pytest.raises(UsageError, match="for decode alone"):
        CountSpec(modes=("prefill",), kv_tokens=40)


def test_what_would_fill_the_host_is_refused_and_what_is_named_twice_counts_once() -> None:
    with pytest.raises(UsageError, match=r"100,000,000 frames of 16 tokens.*the most"):
        scenarios(CountSpec(frames=(1, 100_000_000)))
    twice = CountSpec(
        methods=(MethodSpec("casa"), MethodSpec("casa")), modes=("prefill", "prefill"), frames=(1, 2)
    )
    assert [key.frames for key in scenarios(twice)] == [1, 2]
