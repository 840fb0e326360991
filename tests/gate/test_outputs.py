"""JUnit, GitHub annotations, the JSON document and the text: exact, and whole for hostile names."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.gate.checks import Check
from harness.gate.culprits import Culprit, culprits
from harness.gate.document import document
from harness.gate.github import workflow_commands
from harness.gate.junit import junit
from harness.gate.places import Place, locate, source_files
from harness.gate.run import GateReport
from harness.gate.text import print_report
from tests.counted import MIB, WEIGHTS, alive, peak

from .synthetic import World, linear

HOSTILE = "a<b>&\"'\x1b[31m]]>\x00\ud7ff\ufffe%0A::error::x,y:z\r\n\u2028é"


def report(*checks: Check, compared: int = 1) -> GateReport:
    return GateReport(
        config_path=Path("/repo/harness.toml"),
        baseline_path=Path("/repo/b.json"),
        baseline=None,
        written=False,
        records=(),
        growths=(),
        checks=checks,
        compared=compared,
        update_command="harness check --update",
    )


def failure(name: str = "casa · 8 frames", message: str = "too many", where: str = "") -> Check:
    found = (Culprit(alive(where=where), MIB),) if where else ()
    return Check(rule="bytes", status="failed", name=name, message=message, culprits=found)


PASSED = Check(rule="order", status="passed", name="casa", message="order 1.00, declared 1")


def test_junit_is_what_ci_systems_read() -> None:
    assert junit(report(PASSED, failure(where="casa.py:7"))) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<testsuites>\n"
        ' <testsuite name="harness check" tests="2" failures="1" errors="0">\n'
        '  <testcase classname="harness.order" name="casa">\n'
        "   <system-out>order 1.00, declared 1</system-out>\n"
        "  </testcase>\n"
        '  <testcase classname="harness.bytes" name="casa · 8 frames">\n'
        '   <failure message="too many" type="bytes">too many\n'
        "alive: 1 MiB, +1 MiB: 4 tensors, image_kv, up to 4x8 bfloat16 by aten.cat at casa.py:7</failure>\n"
        "  </testcase>\n"
        " </testsuite>\n"
        "</testsuites>\n"
    )


def test_junit_of_nothing_compared_is_no_success() -> None:
    root = ElementTree.fromstring(junit(report(compared=0)))
    assert root[0].attrib["failures"] == "1"
    assert root[0][0][0].tag == "failure"


@given(st.text(), st.text(), st.text())
def test_junit_is_valid_for_any_names(name: str, message: str, where: str) -> None:
    root = ElementTree.fromstring(junit(report(failure(name, message, where))).encode())
    assert len(root[0]) == 1


def test_junit_keeps_what_xml_can_hold() -> None:
    root = ElementTree.fromstring(junit(report(failure(HOSTILE))))
    assert root[0][0].attrib["name"].startswith("a<b>&\"'\ufffd[31m]]>\ufffd\ud7ff\ufffd%0A")


def test_annotations_point_at_the_line(tmp_path: Path) -> None:
    (tmp_path / "fusion").mkdir()
    (tmp_path / "fusion" / "casa.py").write_text("")
    (line,) = workflow_commands(report(failure(where="fusion/casa.py:7")), tmp_path)
    assert line == (
        "::error file=fusion/casa.py,line=7,title=harness check%3A bytes::casa · 8 frames: too many%0A"
        "1 MiB, +1 MiB: 4 tensors, image_kv, up to 4x8 bfloat16 by aten.cat at fusion/casa.py:7"
    )


def test_annotations_without_a_line_point_at_the_configuration() -> None:
    (line,) = workflow_commands(report(failure(where="elsewhere.py:7")), Path("/repo"))
    assert line.startswith("::error file=harness.toml,line=1,title=")
    (line,) = workflow_commands(report(failure()), Path("/other"))
    assert line == "::error title=harness check%3A bytes::casa · 8 frames: too many"


def test_annotations_escape_what_ends_a_command() -> None:
    (line,) = workflow_commands(report(failure(HOSTILE)), Path("/repo"))
    assert "\n" not in line
    assert "\r" not in line
    assert "%250A::error::x,y:z%0D%0A" in line
    (line,) = workflow_commands(report(failure("\x1b[31m\0red")), Path("/repo"))
    assert "\x1b" not in line
    assert "\0" not in line


def test_annotations_are_as_many_as_are_shown() -> None:
    lines = workflow_commands(report(*[failure(str(n)) for n in range(12)]), Path("/repo"))
    assert len(lines) == 10
    assert lines[-1].endswith("::3 more failures are in the step's log")
    assert len(workflow_commands(report(*[failure(str(n)) for n in range(10)]), Path("/repo"))) == 10
    assert workflow_commands(report(compared=0), Path("/repo"))[0].endswith(
        "::no cell was compared with a baseline"
    )


def test_places(tmp_path: Path) -> None:
    file = tmp_path / "repo" / "my" / "casa.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    root = tmp_path / "repo"
    outside = tmp_path / "torch.py"
    outside.write_text("")
    for where in ("my/casa.py:3", f"{file}:3", "casa.py:3"):
        assert locate(where, root, (file,)) == Place("my/casa.py", 3)
    for where in ("", "casa.py", "casa.py:", "other/casa.py:3", f"{outside}:3", "../torch.py:3", "my:3"):
        assert locate(where, root, (file,)) is None


def test_places_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path / "project")
    assert locate("mine.py:3", tmp_path, ()) == Place("project/mine.py", 3)


def test_sources_are_the_files_of_the_methods(green: World) -> None:
    assert source_files(green.check())[0] == Path(inspect.getfile(registry.methods.get("casa")))


def test_the_document_is_json_of_one_schema(green: World) -> None:
    green.formulas["casa"] = lambda key: peak(linear(key) + 2 * MIB, kv_tokens=16 * key.frames)
    made = json.loads(json.dumps(document(green.check()), allow_nan=False))
    assert list(made) == [
        "schema_version",
        "exit_code",
        "config",
        "baseline",
        "cells",
        "compared",
        "checks",
        "growths",
        "notes",
        "update_command",
    ]
    assert (made["exit_code"], made["cells"], made["compared"]) == (1, 10, 10)
    failed = next(check for check in made["checks"] if check["status"] == "failed")
    assert failed["rule"] == "bytes"
    assert (failed["measured"], failed["allowed"]) == (103 * MIB, 101 * MIB)
    assert failed["alive"][0]["grown_bytes"] == 103 * MIB - WEIGHTS - MIB
    assert failed["alive"][0]["where"] == "casa.py:10"
    growth = made["growths"][0]
    assert growth["order"]["value"] == pytest.approx(1)
    assert growth["bytes_per_unit"] == MIB
    assert growth["bytes_per_kv_token"] == MIB / 16
    assert growth["law"] == "peak = 102 MiB + 64 KiB · KV tokens (1 MiB per frame)"
    assert made["baseline"]["torch"] == green.check().baseline.torch  # type: ignore[union-attr]


def text(made: GateReport) -> str:
    stream = io.StringIO()
    print_report(made, stream)
    return stream.getvalue()


def test_the_text_of_a_fine_run(green: World) -> None:
    shown = text(green.check())
    row = next(line for line in shown.splitlines() if line.startswith("| casa "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["casa · prefill · frames at 64x64", "1.00", "1", "peak = 100 MiB + 1 MiB per frame"]
    assert shown.splitlines()[-1].startswith("10 of 10 cells compared with ")
    assert shown.splitlines()[-1].endswith("; 0 of 12 checks failed")
    assert "--update" not in shown


def test_the_text_of_a_failure(green: World) -> None:
    green.formulas["casa"] = lambda key: WEIGHTS + key.frames**2 * MIB
    lines = text(green.check()).splitlines()
    assert any(
        line.startswith("| casa ") and "| 1 FAILED | peak = 100 MiB + 1 MiB · frames^2" in line
        for line in lines
    )
    failed = [
        n for n, line in enumerate(lines) if line.startswith("FAILED bytes: casa · prefill · 16 frames")
    ]
    assert "373,293,056 bytes (356 MiB), baseline 121,634,816 bytes (116 MiB)" in lines[failed[0]]
    assert lines[failed[0] + 1] == (
        "    alive at the peak: 256 MiB, +240 MiB: 4 tensors, image_kv, "
        "up to 4x8 bfloat16 by aten.cat at casa.py:10"
    )
    assert lines[-1].startswith("to accept what was counted as the new baseline: harness check --config ")


def test_the_text_cannot_steer_a_terminal() -> None:
    shown = text(dataclasses.replace(report(failure(HOSTILE, HOSTILE, f"{HOSTILE}:3")), notes=(HOSTILE,)))
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert all(
        line.split(":")[0] in ("note", "FAILED bytes", "    alive at the peak")
        for line in shown.splitlines()[:-2]
    )


def test_culprits_survive_moved_lines_and_tell_growth_once() -> None:
    before = [alive(5, "casa.py:10"), alive(7, "casa.py:20", operator="aten.mm")]
    now = [
        alive(5, "casa.py:12"),
        alive(3, "casa.py:14"),
        alive(7, "casa.py:22", operator="aten.mm"),
        alive(1, "new.py:1"),
    ]
    found = {(one.alive.where, one.grown_bytes) for one in culprits(now, before)}
    assert found == {("casa.py:12", 3), ("casa.py:14", None), ("casa.py:22", 0), ("new.py:1", 1)}
    assert [one.grown_bytes for one in culprits(now)] == [None] * 4
