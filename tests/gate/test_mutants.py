"""The gate over real counts: every planted fault is caught by its rule, and a run without one passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.errors import ExitCode
from harness.fusion import FusionMethod, MemoryOrder
from harness.gate.run import GateReport, GateSpec, run_gate

from .synthetic import rules_failed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLUGIN = Path(__file__).with_name("mutants.py")
EXACT = "[tolerance]\nrelative = 0\nbytes = 0\n"


def write(path: Path, head: str, tail: str = "") -> Path:
    path.write_text(f'frames = [16, 32, 64]\nplugins = ["{PLUGIN}"]\n{head}\n{tail}')
    return path


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateSpec]:
    """A configuration with a baseline of the methods as they are."""
    registry.discover()
    known = list(registry.methods)
    folder = tmp_path_factory.mktemp("gate")
    config = write(folder / "harness.toml", 'methods = ["mutant_ca", "mutant_insertion"]')
    run_gate(GateSpec(config=config, update=True))
    yield GateSpec(config=config)
    registry.methods.keep(known)


def planted(name: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> type[FusionMethod]:
    method = registry.methods.get(name)
    monkeypatch.setattr(method, "planted", fault)
    return method


def failed_names(report: GateReport, rule: str) -> set[str]:
    return {check.name for check in report.failures if check.rule == rule}


def test_an_unchanged_run_passes_to_the_byte_in_any_order_and_process(gate: GateSpec) -> None:
    assert gate.config is not None
    baseline = gate.config.with_name("harness-baseline.json")
    shuffled = write(
        gate.config.with_name("shuffled.toml"),
        'methods = ["mutant_insertion", "mutant_ca"]\nmodes = ["stream", "prefill"]',
        EXACT,
    )
    report = run_gate(GateSpec(config=shuffled, baseline=baseline))
    assert report.exit_code == ExitCode.OK
    assert report.compared == 12
    options = ["--json", "--config", str(shuffled), "--baseline", str(baseline)]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "check", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["compared"] == 12


def test_a_buffer_over_pairs_of_frames(gate: GateSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    planted("mutant_ca", "square", monkeypatch)
    report = run_gate(gate)
    assert report.exit_code == ExitCode.REGRESSION
    assert "mutant_ca · prefill · frames at 64x64" in failed_names(report, "order")
    order = next(check for check in report.failures if check.rule == "order")
    source = PLUGIN.read_text().splitlines()
    line = next(n for n, text in enumerate(source, 1) if "frames, frames, 256" in text)
    assert order.culprits[0].alive.where.endswith(f"mutants.py:{line}")
    assert not any("mutant_insertion" in check.name for check in report.failures)


def test_every_image_is_kept(gate: GateSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    planted("mutant_ca", "frames", monkeypatch)
    report = run_gate(gate)
    assert "mutant_ca · stream · frames at 64x64" in failed_names(report, "order")


def test_a_tenth_more_keys_and_values(gate: GateSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    planted("mutant_insertion", "kv", monkeypatch)
    report = run_gate(gate)
    assert rules_failed(report) == {"bytes"}
    assert "mutant_insertion · stream · 64 frames · 64x64" in failed_names(report, "bytes")


@pytest.mark.parametrize(("method", "fault"), [("mutant_ca", "frames"), ("mutant_insertion", "kv")])
def test_a_cache_beyond_what_is_declared(
    gate: GateSpec, monkeypatch: pytest.MonkeyPatch, method: str, fault: str
) -> None:
    planted(method, fault, monkeypatch)
    monkeypatch.setattr(registry.methods.get(method), "declares", True)
    report = run_gate(gate)
    assert report.exit_code == ExitCode.REGRESSION
    assert rules_failed(report) == {"counting"}
    assert all("where its declaration says" in check.message for check in report.failures)
    assert {check.name.split(" ")[0] for check in report.failures} == {method}


def test_a_declaration_that_does_not_hold(gate: GateSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    weak = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    monkeypatch.setattr(registry.methods.get("mutant_insertion"), "memory", weak)
    report = run_gate(gate)
    assert rules_failed(report) == {"order"}
    assert failed_names(report, "order") == {"mutant_insertion · stream · frames at 64x64"}
