"""Counted records made from formulas: no model is behind them."""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.counting.records import (
    Alive,
    Cost,
    Counted,
    CountKey,
    CountRecord,
    Mode,
    NotCounted,
    Peak,
)
from harness.environment import describe
from harness.records import Environment

MIB = 2**20
WEIGHTS = 100 * MIB
SITE = "aten.mm at casa.py:10"


def count_key(method: str = "casa", mode: Mode = "prefill", **changes: Any) -> CountKey:
    base = CountKey(
        mode=mode,
        method=method,
        method_config={},
        backbone="tiny-qwen3",
        frames=8,
        height=64,
        width=64,
        text=16,
        text_per_frame=0,
        encode_batch=1,
        dtype="bfloat16",
        kernels="cuda",
        optimizer=None,
    )
    return base.model_copy(update=changes)


def alive(amount: int = MIB, where: str = "casa.py:10", **changes: Any) -> Alive:
    base = Alive(
        bytes=amount,
        count=4,
        kind="image_kv",
        operator="aten.cat",
        shape=(4, 8),
        dtype="bfloat16",
        where=where,
    )
    return base.model_copy(update=changes)


def peak(amount: int, *, site: str = SITE, **changes: Any) -> Peak:
    base = Peak(
        peak_bytes=amount,
        resting_bytes=WEIGHTS,
        phase="prefill",
        phases={"prefill": amount},
        at_peak={"parameters": amount},
        peak_site=site,
        state_bytes={},
        kv_tokens=0,
        parameters=1,
        counted=Cost(kv_bytes=0, flops=None, bytes_moved=None),
        analytic=None,
        routes=(),
        alive=(alive(max(0, amount - WEIGHTS)),),
        substrate="meta",
        reason=None,
    )
    return base.model_copy(update=changes)


@cache
def environment() -> Environment:
    return describe()


def record(key: CountKey, outcome: Peak | str) -> CountRecord:
    """A counted scenario, or one that failed with a message."""
    made = NotCounted(message=outcome) if isinstance(outcome, str) else Counted(peak=outcome)
    return CountRecord(key=key, environment=environment(), cpu_seconds=0.0, outcome=made)


def series(amounts: dict[int, int], **changes: Any) -> list[CountRecord]:
    """Records over frames, all peaks at one line."""
    return [record(count_key(**changes, frames=frames), peak(amount)) for frames, amount in amounts.items()]
