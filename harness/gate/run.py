"""Running the gate: count, compare, and write the baseline where that is asked for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.counting.records import CountRecord, Mode, NotCounted
from harness.counting.spec import CountSpec
from harness.environment import describe
from harness.errors import ExitCode, UsageError
from harness.gate.baseline import (
    Baseline,
    check_torch,
    make_baseline,
    read_baseline,
    same_content,
    write_baseline,
)
from harness.gate.cell_rules import bytes_checks, ratio_checks
from harness.gate.checks import Check
from harness.gate.config import GateConfig, declaration_name, find_config, load_config
from harness.gate.names import cell_name
from harness.gate.order_rule import DeclaredOf, order_checks
from harness.lookup import lookup
from harness.plan import method_label
from harness.scaling import Axis, Growth, growths
from harness.spec import MethodSpec
from harness.units import bytes_text

Progress = Callable[[str], None]


class Count(Protocol):
    """:func:`harness.counting.run.count`, or what stands in for it."""

    def __call__(self, spec: CountSpec, progress: Progress = ..., /) -> list[CountRecord]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """What ``harness check`` is asked to do."""

    config: Path | None = None
    """None: found upwards from the working directory."""
    baseline: Path | None = None
    """None: the configuration's."""
    update: bool = False

    def command(self, update: bool) -> str:
        """The command line of this specification, or the one that updates its baseline."""
        parts = ["harness", "check"]
        for option, value in (("--config", self.config), ("--baseline", self.baseline)):
            parts += [] if value is None else [option, str(value)]
        return shlex.join([*parts, "--update"] if update else parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What came of it."""

    config_path: Path
    baseline_path: Path
    baseline: Baseline | None
    """That was compared with, or has just been written."""
    written: bool
    records: tuple[CountRecord, ...]
    growths: tuple[Growth, ...]
    checks: tuple[Check, ...]
    compared: int
    """Cells whose bytes were compared with the baseline's."""
    update_command: str
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.failed)

    @property
    def exit_code(self) -> ExitCode:
        """A regression is one even where little else was compared; without one, nothing compared is not
        fine."""
        counted = any(record.peak is not None for record in self.records)
        missing_only = all(check.rule == "baseline" for check in self.failures)
        if not counted or (self.compared == 0 and missing_only):
            return ExitCode.NOTHING_MEASURED
        return ExitCode.REGRESSION if self.failures else ExitCode.OK


def run_gate(
    spec: GateSpec, progress: Progress = lambda line: None, *, count: Count | None = None
) -> GateReport:
    """Count what the configuration names and check it; with ``update`` write the baseline, then check.

    Raises UsageError for a configuration or a baseline that cannot be used, before anything is counted where
    that is known before; nothing is overwritten then.
    """
    path = find_config(Path.cwd()) if spec.config is None else spec.config
    config = load_config(path)
    folder = path.absolute().parent
    baseline_path = spec.baseline if spec.baseline is not None else folder / config.baseline
    old = read_baseline(baseline_path)
    update = spec.command(update=True)
    declared = declarations(config, folder)
    if old is not None and not spec.update:
        check_torch(old, describe(), baseline_path, update)
    counted = shipped_count() if count is None else count
    records = [record for grid in config.specs(folder) for record in counted(grid, progress)]
    baseline, written = old, False
    if spec.update:
        _check_update(records, old, config)
        baseline = make_baseline(records, config.grid(), update, folder)
        written = old is None or not same_content(baseline, old)
        if written:
            write_baseline(baseline_path, baseline)
        else:
            baseline = old
    found = growths(records)
    checks = [
        *order_checks(found, declared, config),
        *bytes_checks(records, baseline, config, update),
        *ratio_checks(records, config),
    ]
    return GateReport(
        config_path=path,
        baseline_path=baseline_path,
        baseline=baseline,
        written=written,
        records=tuple(records),
        growths=tuple(found),
        checks=tuple(checks),
        compared=sum(check.rule == "bytes" for check in checks),
        update_command=update,
        notes=tuple(_notes(records, baseline, baseline_path, update)),
    )


def shipped_count() -> Count:
    """The counting itself, imported when it is needed."""
    from harness.counting.run import count

    return count


def declarations(config: GateConfig, folder: Path) -> DeclaredOf:
    """The order that a method declares: its class's, or a tighter one in the configuration.

    Raises UsageError for a name that is not registered, and for an order weaker than the class's: that is
    changed where the claim is made.
    """
    from harness import registry

    broken = registry.require(folder / plugin for plugin in config.plugins)
    for name, table in config.declared.items():
        memory = lookup(registry.methods, name, broken).memory
        for field, value in table.model_dump(exclude_none=True).items():
            own = getattr(memory, field)
            if value > own:
                raise UsageError(
                    f"[declared.{name}] {field} = {value:g} is weaker than the method's own {own}; "
                    f"give at most that, or change the declaration in {registry.methods.origin(name)}"
                )
    listed = {MethodSpec.parse(text).name for text in config.methods} or set(registry.methods)
    named = [MethodSpec.parse(text).name for one in config.ratio for text in (one.method, one.of)]
    for name in (*listed, *named, *config.known_failures):
        lookup(registry.methods, name, broken)
    for name in named:
        if name not in listed:
            raise UsageError(f"[[ratio]] names {name!r}, which is not one of methods; add it there")

    def declared(method: str, mode: Mode, axis: Axis) -> float | None:
        override = config.declared.get(method)
        value = None if override is None else override.on(mode, axis)
        if value is None and method in registry.methods:
            value = getattr(registry.methods.get(method).memory, declaration_name(mode, axis))
        return value

    return declared


def _check_update(records: Sequence[CountRecord], old: Baseline | None, config: GateConfig) -> None:
    """A failure enters a baseline only where it is in the old one, or where the configuration says so."""
    for record in records:
        key = record.key
        cell = None if old is None else old.cells.get(key.digest)
        known = key.method in config.known_failures or (cell is not None and cell.failure is not None)
        if record.outcome.kind == "failed" and not known:
            raise UsageError(
                f"the baseline is not written: {cell_name(key)} could not be counted "
                f"({record.outcome.message}); repair it, or add {key.method!r} to known_failures"
            )


def _notes(records: Sequence[CountRecord], baseline: Baseline | None, path: Path, update: str) -> list[str]:
    notes = []
    if baseline is None:
        notes.append(f"no baseline at {str(path)!r}: run `{update}` and commit the file")
        # With a baseline these are checks.
        failed = [record for record in records if isinstance(record.outcome, NotCounted)]
        for record in {(record.key.method, record.key.mode): record for record in reversed(failed)}.values():
            assert isinstance(record.outcome, NotCounted)
            notes.append(f"{cell_name(record.key)} could not be counted: {record.outcome.message}")
    elif records:
        for name, theirs in (("transformers", baseline.transformers), ("harness", baseline.harness)):
            ours = getattr(records[0].environment, name)
            if ours != theirs:
                notes.append(f"the baseline was written with {name} {theirs}, here is {name} {ours}")
    real = [record for record in records if record.peak is not None and record.peak.reason is not None]
    for key, peak in {record.key.method: (record.key, record.peak) for record in real}.values():
        assert peak is not None
        notes.append(
            f"{method_label(key)} was counted on real tensors, "
            f"up to {bytes_text(peak.peak_bytes)}: {peak.reason}"
        )
    return notes
