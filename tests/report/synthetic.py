"""Records with the shape of a real run, made from formulas: no model is behind them."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.records import (
    Accuracy,
    CellKey,
    Environment,
    Failed,
    FailureKind,
    Latency,
    Measures,
    Memory,
    Ok,
    Outcome,
    Record,
    SampleOutcome,
    Skipped,
    Timing,
)

MIB = 2**20
QUESTIONS = 40
"""Per kind."""
KINDS = {
    "last_frame": (0.1, 0.1, 1.0),
    "fine_detail": (0.1, 0.1, 1.0),
    "pixel_history": (0.1, 0.1, 0.12),
    "text_history": (0.1, 0.1, 0.1),
    "last_seen": (0.1, 0.1, 0.15),
    "when": (0.25, 0.25, 0.3),
    "position_past": (0.25, 0.25, 0.25),
    "motion": (0.25, 0.25, 0.25),
}
"""Kind to chance, blind oracle and last-frame oracle."""

SKILL = {"token_insertion": 0.95, "vanilla_ca": 0.25, "casa": 0.65}


def environment(**changes: Any) -> Environment:
    base = Environment(
        harness="0.1.0",
        python="3.11.7",
        torch="2.13.0+cpu",
        transformers="5.23.0",
        platform="Linux-6.1-x86_64",
        cpu="Example CPU @ 2.80GHz",
        cpu_count=2,
        threads=2,
        gpu=None,
        cuda=None,
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=True,
    )
    return base.model_copy(update=changes)


def key(method: str = "casa", **changes: Any) -> CellKey:
    base = CellKey(
        task="videoqa",
        task_version=1,
        task_config={},
        method=method,
        method_config={"gists": 2} if method == "casa" else {},
        frames=8,
        height=64,
        width=64,
        backbone="reference",
        weights="0" * 16,
        seed=0,
        view_seed=0,
        limit=None,
        batch=16,
        dtype="float32",
        device="cpu",
    )
    return base.model_copy(update=changes)


def accuracy(mean: float | None, scored: int, chance: float | None, **oracles: float) -> Accuracy:
    half = 0.0 if mean is None else 1.96 * float(np.sqrt(max(mean * (1 - mean), 0.002) / max(scored, 1)))
    return Accuracy(
        mean=mean,
        low=None if mean is None else max(0.0, mean - half),
        high=None if mean is None else min(1.0, mean + half),
        scored=scored,
        unparsed=0,
        errors=0,
        chance=chance,
        oracles=oracles,
    )


def measures(cell: CellKey, **changes: Any) -> Measures:
    rng = np.random.default_rng([cell.seed, cell.frames, cell.height, len(cell.method)])
    tokens = (cell.height // 8) ** 2 * (cell.frames if cell.method == "token_insertion" else 1)
    skill = SKILL.get(cell.method, 0.5) * (0.8 if cell.height < 64 else 1.0)
    by_kind = {}
    for kind, (chance, blind, last) in KINDS.items():
        if kind in ("when", "motion", "last_seen", "position_past") and cell.frames < 4:
            continue
        easy = kind in ("last_frame", "fine_detail")
        mean = chance + (1 - chance) * (0.97 * (0.7 if cell.height < 64 else 1) if easy else skill)
        mean = round(float(np.clip(mean + rng.normal(0, 0.03), 0, 1)) * QUESTIONS) / QUESTIONS
        by_kind[kind] = accuracy(mean, QUESTIONS, chance, blind=blind, last_frame=last)
    overall = float(np.mean([value.mean for value in by_kind.values() if value.mean is not None]))
    per_frame = 2.0 + 0.004 * tokens

    def timing(middle: float) -> Timing:
        return Timing(raw_ms=tuple(float(x) for x in middle * rng.lognormal(0, 0.06, 9)))

    values = Measures(
        parameters={"token_insertion": 700_000, "vanilla_ca": 712_000, "casa": 704_500}.get(
            cell.method, 701_000
        ),
        accuracy=accuracy(
            overall,
            QUESTIONS * len(by_kind),
            float(np.mean([KINDS[k][0] for k in by_kind])),
            blind=float(np.mean([KINDS[k][1] for k in by_kind])),
            last_frame=float(np.mean([KINDS[k][2] for k in by_kind])),
        ),
        by_kind=by_kind,
        extrapolated=cell.frames > 16 or cell.height > 64,
        memory=Memory(
            source="counted",
            peak_bytes=int(3 * MIB + tokens * 9_000 + cell.frames * 20_000),
            resting_bytes=3 * MIB,
            reserved_bytes=None,
            host_peak_bytes=400 * MIB,
            state_bytes={"text_kv": 900 * cell.frames, "image_kv": 1024 * tokens},
        ),
        latency=Latency(
            encode=timing(1.5 * cell.frames * (cell.height / 64)),
            prefill=timing(4 + 0.03 * tokens + 0.3 * cell.frames),
            per_frame=timing(per_frame),
            per_token=timing(2.2),
        ),
        prefill_flops=1_000_000 * tokens,
        frames_digest="f" * 16,
        attention_routes=("flash",),
    )
    return values.model_copy(update=changes)


def record(cell: CellKey, outcome: Outcome | None = None, env: Environment | None = None) -> Record:
    return Record(
        key=cell,
        environment=env or environment(),
        outcome=outcome or Ok(measures=measures(cell)),
        started_at="2026-01-02T03:04:05+00:00",
        duration_s=1.5,
    )


def failed(kind: FailureKind = "out_of_memory") -> Failed:
    return Failed(failure=kind, message=f"{kind} while measuring\nsecond line", traceback="Traceback ...")


def run(
    frames: tuple[int, ...] = (1, 2, 4, 8, 16, 32),
    resolutions: tuple[int, ...] = (32, 64),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> list[Record]:
    """Three methods; token insertion runs out of memory at the largest size, one cell of casa is skipped."""
    records = []
    for method in SKILL:
        for size in resolutions:
            for count in frames:
                for seed in seeds:
                    cell = key(
                        method, frames=count, height=size, width=size, seed=seed, weights=f"{seed:016x}"
                    )
                    outcome: Outcome | None = None
                    if method == "token_insertion" and (count, size) == (max(frames), max(resolutions)):
                        outcome = failed()
                    elif method == "casa" and (count, size, seed) == (1, min(resolutions), 2):
                        outcome = Skipped(reason="no trained weights for casa seed 2")
                    records.append(record(cell, outcome))
    return records


def samples(one: Record) -> list[SampleOutcome]:
    """A sidecar with the record's means: four questions per clip and kind."""
    if not isinstance(one.outcome, Ok):
        return []
    rng = np.random.default_rng([one.key.seed, one.key.frames, len(one.key.method)])
    outcomes = []
    for kind, result in one.outcome.measures.by_kind.items():
        right = round(result.scored * (result.mean or 0.0))
        for index, drawn in enumerate(rng.permutation(result.scored)):
            value = float(drawn < right)
            outcomes.append(
                SampleOutcome(
                    sample=f"clip{index // 4}",
                    group=f"clip{index // 4}",
                    question=f"{kind}{index}",
                    kind=kind,
                    prediction="7",
                    answer="7" if value else "3",
                    status="scored",
                    value=value,
                    oracle_values={},
                    chance=result.chance,
                )
            )
    return outcomes
