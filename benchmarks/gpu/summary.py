"""Records in words: allocated / counted by method and mode, what makes up the rest, and what is wrong."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.gpu.choices import Choice, Choices
from benchmarks.gpu.records import (
    CARD_SHARE,
    TOLERANCE,
    Failed,
    GpuRecord,
    Measured,
    OutOfMemory,
    PhaseRecord,
)
from harness.errors import ExitCode
from harness.store import Problem
from harness.units import bytes_text

MOST_LISTED = 40


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a set of records comes to."""

    measured: int
    out_of_memory: int
    wrong: tuple[str, ...]
    """One line each."""

    @property
    def exit_code(self) -> ExitCode:
        if self.wrong:
            return ExitCode.REGRESSION
        return ExitCode.OK if self.measured else ExitCode.NOTHING_MEASURED


def judge(records: Iterable[GpuRecord], missing: Sequence[Problem], choices: Choices) -> Verdict:
    """Wrong is a difference without a cause, another route than predicted, a failure, a cell that should have
    fitted."""
    measured = out_of_memory = 0
    wrong = [f"{problem.path.name}: {problem.reason}" for problem in missing]
    for record in records:
        outcome = record.outcome
        if isinstance(outcome, Measured):
            measured += 1
        elif isinstance(outcome, OutOfMemory):
            out_of_memory += 1
        wrong += [f"{_named(record)}: {line}" for line in _wrong(record)]
    if choices.wrong:
        count = f"{len(choices.wrong)} of {len(choices.choices)}"
        wrong.append(f"torch takes another attention kernel than believed for {count} shapes")
    return Verdict(measured, out_of_memory, tuple(wrong))


def _wrong(record: GpuRecord) -> list[str]:
    outcome = record.outcome
    if isinstance(outcome, Failed):
        return [outcome.message]
    if isinstance(outcome, OutOfMemory):
        counted, total = outcome.counted_peak_bytes, record.card.total_bytes
        if counted > CARD_SHARE * total:
            return []
        return [
            f"out of memory in {outcome.phase}, though {bytes_text(counted)} counted are less than "
            f"{CARD_SHARE:.0%} of {bytes_text(total)}"
        ]
    lines = [
        f"{name}: allocated / counted {phase.ratio:.4f}, of which {bytes_text(phase.unnamed_bytes)} "
        f"({phase.unnamed_bytes / phase.counted_bytes:.2%}) have no known cause"
        for name, phase in outcome.phases.items()
        if phase.verdict == "unnamed"
    ]
    if outcome.routes_seen != outcome.routes_counted:
        lines.append(
            f"attention ran through {', '.join(outcome.routes_seen) or 'nothing'}, and "
            f"{', '.join(outcome.routes_counted) or 'nothing'} was predicted"
        )
    return lines


def markdown(records: Sequence[GpuRecord], verdict: Verdict, choices: Choices) -> str:
    """The page of a card."""
    card, where = choices.card, choices.environment
    commits = sorted({str(record.environment.commit)[:10] for record in records})
    lines = [
        f"# Counted against allocated memory: {card.name}",
        "",
        f"{bytes_text(card.total_bytes)}, compute capability {card.capability[0]}.{card.capability[1]}; "
        f"torch {where.torch} (CUDA {where.cuda}), Python {where.python}, {where.platform}; "
        f"harness {where.harness}, commit {', '.join(commits) or 'unknown'}."
        + "".join(f" {name}={value}." for name, value in card.settings.items()),
        "",
        f"{len(records)} cells: {verdict.measured} measured, {verdict.out_of_memory} out of memory. "
        "A ratio is the allocator's peak in a phase over the counted one, after a warm-up; *cause unknown* "
        "is the largest share of the counted bytes, up or down, that no measured cause explains. "
        f"Aim: either within {TOLERANCE:.0%}.",
        "",
        *_table(records),
        "",
        f"{len(choices.choices)} shapes of `scaled_dot_product_attention`: torch takes the kernel that the "
        f"counter believes in {len(choices.choices) - len(choices.wrong)}.",
    ]
    if choices.wrong:
        lines += ["", *_choices_table(choices.wrong)]
    if verdict.wrong:
        lines += ["", "## What is wrong", "", *(f"- {line}" for line in verdict.wrong[:MOST_LISTED])]
        if len(verdict.wrong) > MOST_LISTED:
            lines.append(f"- and {len(verdict.wrong) - MOST_LISTED} more")
    return "\n".join(lines) + "\n"


def _table(records: Sequence[GpuRecord]) -> list[str]:
    grouped: dict[tuple[str, str, str], list[GpuRecord]] = {}
    for record in records:
        key = record.key
        grouped.setdefault((key.backbone, key.method, key.mode), []).append(record)
    lines = [
        "| backbone | method | mode | cells | out of memory | allocated / counted: min | median | max "
        "| cause unknown | most of the rest | fragmentation, at most | other routes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (backbone, method, mode), members in grouped.items():
        measured = [one.outcome for one in members if isinstance(one.outcome, Measured)]
        phases = [phase for outcome in measured for phase in outcome.phases.values()]
        failed = sum(isinstance(one.outcome, OutOfMemory) for one in members)
        others = sum(outcome.routes_seen != outcome.routes_counted for outcome in measured)
        cells = (backbone, method, mode, len(measured), failed, *_figures(phases), others)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _figures(phases: Sequence[PhaseRecord]) -> tuple[str, ...]:
    if not phases:
        return ("",) * 6
    ratios = [phase.ratio for phase in phases]
    unknown = max((phase.unnamed_bytes / phase.counted_bytes for phase in phases), key=abs)
    causes = Counter(phase.causes.largest for phase in phases if phase.causes.named)
    return (
        f"{min(ratios):.4f}",
        f"{statistics.median(ratios):.4f}",
        f"{max(ratios):.4f}",
        f"{unknown:+.2%}",
        causes.most_common(1)[0][0] if causes else "",
        bytes_text(max(phase.fragmentation_bytes for phase in phases)),
    )


def _choices_table(wrong: Sequence[Choice]) -> list[str]:
    lines = [
        "| dtype | heads / key heads | queries x keys | width | mask | training | believed | taken |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in wrong[:MOST_LISTED]:
        mask = "added" if one.mask else "causal" if one.causal else "none"
        lines.append(
            f"| {one.dtype} | {one.heads} / {one.kv_heads} | {one.queries} x {one.keys} | {one.width} "
            f"| {mask} | {'yes' if one.training else 'no'} | {one.believed} | {one.taken} |"
        )
    if len(wrong) > MOST_LISTED:
        lines += ["", f"and {len(wrong) - MOST_LISTED} more"]
    return lines


def _named(record: GpuRecord) -> str:
    key = record.key
    size = f"{key.height}x{key.width}"
    return f"{key.method} {key.mode} on {key.backbone}, {key.frames} frame(s) of {size} ({key.digest})"
