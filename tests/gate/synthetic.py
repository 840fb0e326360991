"""A gate in a folder of its own, whose methods count what formulas say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.counting.records import CountKey, CountRecord, Peak
from harness.counting.spec import CountSpec
from harness.gate.config import GateConfig, parse_config
from harness.gate.run import GateReport, GateSpec, run_gate
from tests.counted import MIB, WEIGHTS, count_key, peak, record

Formula = Callable[[CountKey], "int | str | Peak"]


def linear(key: CountKey) -> int:
    """Weights, and 1 MiB for a frame of 64 by 64 pixels."""
    return WEIGHTS + key.frames * key.height * key.width * MIB // 4096


@dataclass
class World:
    """A folder with a configuration; what the methods count is given by formulas."""

    folder: Path
    formulas: dict[str, Formula] = field(default_factory=lambda: {"casa": linear, "token_insertion": linear})
    dropped: set[str] = field(default_factory=set)
    """Digests of scenarios that are not reported."""
    counted: int = 0

    @property
    def baseline(self) -> Path:
        return self.folder / "harness-baseline.json"

    def write(self, text: str = "", name: str = "harness.toml") -> Path:
        path = self.folder / name
        head = ['methods = ["casa", "token_insertion"]', 'modes = ["prefill"]']
        if not text.startswith("frames"):
            head.append("frames = [1, 2, 4, 8, 16]")
        path.write_text("\n".join([*head, text]))
        return path

    def count(
        self, spec: CountSpec, progress: Callable[[str], None] = lambda line: None, /
    ) -> list[CountRecord]:
        self.counted += 1
        found = []
        for method in spec.methods:
            for mode in spec.modes:
                for height, width in spec.resolutions:
                    for frames in spec.frames:
                        scenario = count_key(
                            method.name,
                            mode,
                            frames=frames,
                            height=height,
                            width=width,
                            text_per_frame=spec.text_per_frame,
                        )
                        value = self.formulas[method.name](scenario)
                        outcome = peak(value) if isinstance(value, int) else value
                        if scenario.digest not in self.dropped:
                            found.append(record(scenario, outcome))
        return found

    def check(self, *, update: bool = False, baseline: Path | None = None) -> GateReport:
        spec = GateSpec(config=self.folder / "harness.toml", baseline=baseline, update=update)
        return run_gate(spec, count=self.count)


def config(**document: Any) -> GateConfig:
    return parse_config(document, "harness.toml")


def rules_failed(report: GateReport) -> set[str]:
    return {check.rule for check in report.failures}
