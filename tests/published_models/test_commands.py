"""The real command over a published checkpoint: measured, recorded, reported and resumed."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.published_models.families import FAMILIES
from tests.cli.test_end_to_end import PLUGIN

ROOT = Path(__file__).parents[2]
MAIN = "from harness.cli import main; main()"


def test_a_checkpoint_is_a_row_of_a_report(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text(PLUGIN)
    arguments = {
        "--task": "noise",
        "--plugin": tmp_path / "noise.py",
        "--backbone": checkpoint("smolvlm"),
        "--methods": "published,casa",
        "--frames": "2",
        "--resolution": "32",
        "--limit": "2",
        "--out": tmp_path / "run",
        "--cache": tmp_path / "cache",
    }
    options = [str(part) for pair in arguments.items() for part in pair]
    command = [sys.executable, "-c", MAIN, "eval", *options, "--json"]
    first, second = (subprocess.run(command, capture_output=True, text=True, timeout=300) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    measured, skipped = json.loads(first.stdout)
    assert measured["outcome"]["kind"] == "ok"
    assert measured["key"]["method"] == "published"
    assert measured["key"]["backbone"].startswith("smolvlm@")
    assert skipped["outcome"]["kind"] == "skipped"
    assert "1 measured already" in second.stderr
    assert json.loads(second.stdout)[0]["started_at"] == measured["started_at"]
    assert "published" in (tmp_path / "run" / "report" / "report.md").read_text()


@pytest.mark.slow
def test_the_guide_s_command_over_several_backbones(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    guide = (ROOT / "docs" / "published_models.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```bash\n(.*)\n```", guide)
    folder = checkpoint("smolvlm").parent
    checkpoint("qwen2_5_vl")
    words = shlex.split(command.replace("CHECKPOINTS", str(folder)).replace("RUN", str(tmp_path / "run")))
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words[1:]], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "left out: casa on smolvlm@" in done.stderr
    with (tmp_path / "run" / "report" / "tables" / "models.csv").open(encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"casa", "smolvlm", "qwen2_5_vl"}
    assert all(", n " in row[task] for row in rows.values() for task in ("videoqa", "multi_image"))


def test_the_list_names_the_classes_and_what_cannot_be_streamed() -> None:
    shown = CliRunner().invoke(app, ["list", "published", "--json"])
    entries = json.loads(shown.stdout)["published"]
    assert [entry["name"] for entry in entries] == list(FAMILIES)
    assert [entry["name"] for entry in entries if entry["not_streamed"]] == ["mllama"]
    text = CliRunner().invoke(app, ["list", "published"]).stdout
    assert "Llama-3.2-Vision: gated cross-attention" in text
    assert "not streamed" in text


def test_offline_is_one_line_and_the_machine_s_fault() -> None:
    result = CliRunner().invoke(app, ["eval", "--task", "multi_image", "--backbone", "hub:org/name"])
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert "--backbone DIR" in result.stderr


def test_commands_that_need_a_decoder_say_so(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    for command in (
        ["graft", "--method", "casa", "--out", str(tmp_path)],
        ["train", "--method", "casa", "--out", str(tmp_path)],
        ["bench", "--methods", "casa", "--frames", "1"],
    ):
        for backbone in ("hub:org/name", str(checkpoint("idefics"))):
            result = CliRunner().invoke(app, [*command, "--backbone", backbone])
            assert result.exit_code == 2
            assert "`harness eval` measures" in result.stderr
