"""The command from its options to the summary, on a device that is this CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.cells import measure_cells
from benchmarks.gpu.choices import FILE, Choices, compare_choices
from benchmarks.gpu.records import (
    Causes,
    Failed,
    GpuRecord,
    Measured,
    OutOfMemory,
    PhaseRecord,
)
from benchmarks.gpu.summary import judge, markdown
from benchmarks.gpu_memory import SUMMARY, keys_of, machine_name, main, measure_grid, parser
from harness.counting.records import CountKey
from harness.errors import ExitCode, UsageError
from harness.store import Problem

from ..counting.keys import METHODS, MODES, key
from .fakes import CARD, ENVIRONMENT, FakeAllocator, FakeDevice, believed, no_choices, record_of

MIB = 2**20


def phase(allocated: int, scratch: int = 0, counted: int = 100 * MIB) -> PhaseRecord:
    return PhaseRecord(
        allocated_bytes=allocated,
        requested_bytes=allocated,
        reserved_bytes=allocated + 2 * MIB,
        counted_bytes=counted,
        counted_exact_bytes=counted,
        causes=Causes(workspaces=0, rounding=0, scratch=scratch, outputs=0),
        scratch_operator="aten.mm.default" if scratch else "",
    )


def measured(
    *phases: PhaseRecord, seen: tuple[str, ...] = ("varlen/flash",), asked: CountKey | None = None
) -> GpuRecord:
    return record_of(
        asked or key("decode"),
        Measured(
            phases={f"phase{i}": one for i, one in enumerate(phases)},
            resting_bytes=MIB,
            model_bytes=MIB,
            workspace_bytes=0,
            routes_counted=("varlen/flash",),
            routes_seen=seen,
        ),
    )


@pytest.mark.parametrize(
    ("allocated", "scratch", "verdict", "status"),
    [
        (101 * MIB, 0, "within", ExitCode.OK),
        (99 * MIB, 0, "within", ExitCode.OK),
        (101 * MIB + 1, 0, "unnamed", ExitCode.REGRESSION),
        (120 * MIB, 19 * MIB, "named", ExitCode.OK),
        (120 * MIB, 18 * MIB, "unnamed", ExitCode.REGRESSION),
        (98 * MIB, 0, "unnamed", ExitCode.REGRESSION),
        # A cause that was measured and did not show does not make a good ratio a bad one.
        (100 * MIB, 5 * MIB, "within", ExitCode.OK),
    ],
)
def test_verdicts(allocated: int, scratch: int, verdict: str, status: ExitCode) -> None:
    one = phase(allocated, scratch)
    assert one.verdict == verdict
    assert judge([measured(phase(100 * MIB), one)], (), no_choices()).exit_code is status


def test_what_is_wrong_is_said() -> None:
    fits = OutOfMemory(phase="token", counted_peak_bytes=CARD.total_bytes // 2, message="out of memory")
    too_large = fits.model_copy(update={"counted_peak_bytes": CARD.total_bytes})
    records = [
        measured(phase(110 * MIB)),
        measured(phase(100 * MIB), seen=("blocks/cudnn", "varlen/flash")),
        record_of(key("train"), Failed(message="it died")),
        record_of(key("prefill"), fits),
        record_of(key("prefill"), too_large),
    ]
    verdict = judge(records, [Problem(Path("x.json"), "it is missing")], no_choices())
    assert (verdict.measured, verdict.out_of_memory) == (2, 2)
    text = "\n".join(verdict.wrong)
    assert len(verdict.wrong) == 5
    for part in (
        "x.json: it is missing",
        "phase0: allocated / counted 1.1000, of which 10 MiB (10.00%) have no known cause",
        "ran through blocks/cudnn, varlen/flash, and varlen/flash was predicted",
        "it died",
        "less than 90% of 1 GiB",
    ):
        assert part in text
    page = markdown(records, verdict, no_choices())
    assert all(f"- {line}" in page for line in verdict.wrong)
    row = next(line for line in page.splitlines() if "| decode |" in line)
    assert "| 2 | 0 | 1.0000 | 1.0500 | 1.1000 | +10.00% |" in row
    assert row.endswith("| 1 |")


def test_nothing_measured_has_a_status_of_its_own() -> None:
    full = OutOfMemory(phase="model", counted_peak_bytes=CARD.total_bytes, message="out of memory")
    for records in ([], [record_of(key("train"), full)]):
        assert judge(records, (), no_choices()).exit_code is ExitCode.NOTHING_MEASURED


def test_another_kernel_than_believed_is_listed() -> None:
    found = list(compare_choices(torch.device("cpu"), believed))
    assert {one.believed for one in found} == {"flash", "efficient", "math"}
    changed = found[0].model_copy(update={"taken": "cudnn"})
    choices = Choices(environment=ENVIRONMENT, card=CARD, choices=(changed, *found[1:]))
    verdict = judge([measured(phase(100 * MIB))], (), choices)
    assert verdict.exit_code is ExitCode.REGRESSION
    assert f"1 of {len(found)} shapes" in verdict.wrong[0]
    assert "| flash | cudnn |" in markdown([], verdict, choices)


def test_a_grid_is_measured_once_and_summed_up(tmp_path: Path) -> None:
    options = parser().parse_args(
        ["--methods", "vanilla_ca", "--modes", "decode", "--grid", "tiny-qwen3=32", "--frames", "1,2"]
    )
    keys, launched = keys_of(options), list[int]()

    def launch(pending: Sequence[CountKey]) -> str:
        launched.append(len(pending))
        allocator = FakeAllocator(workspace=MIB)
        with allocator.watching():
            measure_cells(pending, FakeDevice(allocator), tmp_path, warmups=1)
        return "ended with 0"

    device = FakeDevice(FakeAllocator())
    for _ in range(2):
        verdict = measure_grid(keys, tmp_path, device, ENVIRONMENT, launch, choose=believed)
        assert verdict.exit_code is ExitCode.OK, verdict.wrong
    assert launched == [2]
    page = (tmp_path / SUMMARY).read_text()
    assert "2 cells: 2 measured, 0 out of memory" in page
    assert "| tiny-qwen3 | vanilla_ca | decode | 2 | 0 |" in page
    assert "workspaces" in page
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {SUMMARY, FILE, *(f"{asked.digest}.json" for asked in keys)}


def test_the_grid_holds_every_method_and_mode_by_default() -> None:
    keys = keys_of(parser().parse_args([]))
    assert {asked.method for asked in keys} == set(METHODS)
    assert {asked.mode for asked in keys} == set(MODES)
    sizes = {(asked.backbone, asked.height) for asked in keys}
    assert sizes == {("tiny-qwen3", 64), ("helium1-2b", 224), ("helium1-2b", 448)}
    assert len(keys) == len({asked.digest for asked in keys})
    assert all(asked.kernels == "cuda" for asked in keys)


@pytest.mark.parametrize(
    "arguments", [["--grid", "tiny-qwen3"], ["--modes", "prefil"], ["--frames", "2,1"], ["--warmups", "0"]]
)
def test_values_that_cannot_be_used_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        keys_of(parser().parse_args(arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == ExitCode.INFRASTRUCTURE
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1
    assert "no CUDA device" in captured.err
    assert not list(tmp_path.iterdir())


def test_a_folder_is_named_after_the_card() -> None:
    card = CARD.model_copy(update={"name": "NVIDIA H100 80GB HBM3"})
    assert machine_name(card) == "nvidia-h100-80gb-hbm3"
