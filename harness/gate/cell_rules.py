"""Rules about single cells, as pure functions over counted records.

2. ``bytes``: a cell's peak is at most the baseline's and a tolerance; ``baseline``: every cell is in both.
3. ``ratio``: a method's peak is at most so many times that of a reference method in the same run.
4. ``counting``: what the baseline holds as counted is counted; a failure that it holds stays one.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.counting.records import CountKey, CountRecord, NotCounted
from harness.gate.baseline import Baseline, BaselineCell
from harness.gate.checks import Check
from harness.gate.config import GateConfig, Ratio, Tolerance
from harness.gate.culprits import culprits
from harness.gate.names import canonical, cell_name
from harness.plan import method_label
from harness.units import bytes_text, exact_bytes


def bytes_checks(
    records: Sequence[CountRecord], baseline: Baseline | None, config: GateConfig, update: str
) -> list[Check]:
    """Rules 2 and 4, for a baseline that exists."""
    if baseline is None:
        return []
    found = [_cell_check(r, baseline.cells.get(r.key.digest), config.tolerance, update) for r in records]
    measured = {record.key.digest for record in records}
    same_grid = baseline.grid == config.grid()
    for digest, cell in sorted(baseline.cells.items(), key=lambda item: item[1].name):
        if digest not in measured:
            found.append(_gone(digest, cell, same_grid, update))
    return found


def _gone(digest: str, cell: BaselineCell, same_grid: bool, update: str) -> Check:
    """A cell that is in the baseline only. It may go where the configuration's change says so, and its review
    sees that; by itself it must not."""
    why = "though the configuration asks for the same" if same_grid else "since the configuration changed"
    return Check(
        rule="baseline",
        status="failed" if same_grid else "noted",
        name=cell.name,
        message=f"is in the baseline and no longer counted, {why}; run `{update}` where that is intended",
        allowed=cell.peak_bytes,
        digest=digest,
    )


def _cell_check(record: CountRecord, cell: BaselineCell | None, tolerance: Tolerance, update: str) -> Check:
    name, digest, outcome = cell_name(record.key), record.key.digest, record.outcome
    allowed = None if cell is None else cell.peak_bytes
    if isinstance(outcome, NotCounted):
        known = cell is not None and cell.failure is not None
        text = "is still not counted" if known else "could not be counted"
        return Check(
            rule="counting",
            status="noted" if known else "failed",
            name=name,
            message=f"{text}: {outcome.message}",
            allowed=allowed,
            digest=digest,
        )
    peak = outcome.peak
    if cell is None:
        return Check(
            rule="baseline",
            status="failed",
            name=name,
            message=f"{exact_bytes(peak.peak_bytes)}, but the baseline has no such cell; run `{update}`",
            measured=peak.peak_bytes,
            culprits=culprits(peak.alive),
            digest=digest,
        )
    if allowed is None:
        return Check(
            rule="counting",
            status="better",
            name=name,
            message=f"is counted now ({exact_bytes(peak.peak_bytes)}); run `{update}` to hold it to that",
            measured=peak.peak_bytes,
            digest=digest,
        )
    grown, slack = peak.peak_bytes - allowed, slack_bytes(allowed, tolerance)
    worse, better = grown > slack, grown < -slack
    text = f"{exact_bytes(peak.peak_bytes)}, baseline {exact_bytes(allowed)}"
    if worse:
        text += f": {_change(grown, allowed)}, tolerated {bytes_text(slack)}; if intended, run `{update}`"
    if better:
        text += f": {_change(grown, allowed)}; run `{update}` so that it stays so"
    return Check(
        rule="bytes",
        status="failed" if worse else "better" if better else "passed",
        name=name,
        message=text,
        measured=peak.peak_bytes,
        allowed=allowed,
        culprits=culprits(peak.alive, cell.alive) if worse else (),
        digest=digest,
    )


def slack_bytes(allowed: int, tolerance: Tolerance) -> int:
    """How much more or less than the baseline counts as the same."""
    return max(int(allowed * tolerance.relative), tolerance.bytes)


def _change(grown: int, allowed: int) -> str:
    sign = "+" if grown > 0 else "-"
    share = f" ({100 * grown / allowed:+.2f} %)" if allowed else ""
    return f"{sign}{bytes_text(abs(grown))}{share}"


def ratio_checks(records: Sequence[CountRecord], config: GateConfig) -> list[Check]:
    """Rule 3: every ``[[ratio]]`` at every resolution and regime of text."""
    by_digest = {record.key.digest: record for record in records}
    configs = {method_label(record.key): record.key for record in records}
    found = []
    for ratio in config.ratio:
        frames = ratio.frames or config.frames[-1:]
        subject, reference = canonical(ratio.method), canonical(ratio.of)
        subjects = [
            record
            for record in records
            if method_label(record.key) == subject
            and record.key.mode == ratio.mode
            and record.key.frames in frames
        ]
        if not subjects:
            found.append(_no_ratio(ratio, f"{ratio.method} · {ratio.mode}", "no cell of it is in this run"))
        for record in subjects:
            of = configs.get(reference)
            key = None if of is None else _same_scenario(record.key, of)
            found.append(_ratio_check(ratio, record, None if key is None else by_digest.get(key.digest)))
    return found


def _same_scenario(key: CountKey, of: CountKey) -> CountKey:
    return key.model_copy(update={"method": of.method, "method_config": of.method_config})


def _ratio_check(ratio: Ratio, record: CountRecord, reference: CountRecord | None) -> Check:
    name = cell_name(record.key)
    if reference is None:
        return _no_ratio(ratio, name, f"the reference {ratio.of} has no such cell in this run")
    if record.peak is None or reference.peak is None:
        missing = ratio.method if record.peak is None else ratio.of
        return _no_ratio(ratio, name, f"{missing} could not be counted")
    ours, theirs = record.peak.peak_bytes, reference.peak.peak_bytes
    # Compared as products: a reference of 0 bytes is then exceeded, not divided by.
    failed = ours > ratio.most * theirs
    share = ours / theirs if theirs else None
    shown = "no number of" if share is None else f"{share:.4g}"
    return Check(
        rule="ratio",
        status="failed" if failed else "passed",
        name=f"{name} / {ratio.of}",
        message=f"{shown} times {ratio.of}, at most {ratio.most:g}: {ours:,} and {theirs:,} bytes",
        measured=share,
        allowed=ratio.most,
        unit="ratio",
        culprits=culprits(record.peak.alive, reference.peak.alive) if failed else (),
        digest=record.key.digest,
    )


def _no_ratio(ratio: Ratio, name: str, why: str) -> Check:
    return Check(
        rule="ratio",
        status="failed",
        name=f"{name} / {ratio.of}",
        message=f"cannot be compared with {ratio.of}: {why}",
        allowed=ratio.most,
        unit="ratio",
    )
