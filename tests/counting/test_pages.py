"""The pages on memory say what is so: their commands run, their tables are what is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.published_memory import compare, tables
from harness import published
from harness.errors import UsageError
from tests.shell import shell

ROOT = Path(__file__).parents[2]
MEMORY = (ROOT / "docs" / "memory.md").read_text()
RED = "red: 1\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", MEMORY, re.M | re.S)


@pytest.mark.slow
def test_the_commands_lead_from_nothing_to_red_and_back(tmp_path: Path) -> None:
    done = [shell(commands, tmp_path) for commands in blocks("sh")]
    assert [one.returncode for one in done] == [0] * len(done), "".join(o.stdout + o.stderr for o in done)
    bench, plan, green, quadratic, kept = (one.stdout for one in done)
    assert bench.count("helium") == 0
    assert bench.count("token_insertion") == 3
    assert "turns of a session" in plan
    assert "FAILED" not in green
    assert quadratic.endswith(RED)
    (shown,) = blocks("text")
    assert shown.strip() in quadratic
    assert "by aten.new_zeros.default at my_fusion.py:" in quadratic
    assert RED in kept
    assert "where its declaration says" in kept
    assert kept.rstrip().endswith("checks failed")
    assert ", 0 of" in kept.rsplit("compared with", 1)[1] or "; 0 of" in kept.rsplit("compared with", 1)[1]


def test_the_python_runs() -> None:
    (code,) = blocks("python")
    exec(compile(code, "memory.md", "exec"), {})


def test_published_figures_are_met() -> None:
    rows = compare()
    assert [row.peak.kv_tokens for row in rows] == [row.published_tokens for row in rows]
    assert all(abs(row.ratio - 1) < 0.05 for row in rows), [row.ratio for row in rows]
    assert tables(rows) in (ROOT / "docs" / "published_memory.md").read_text()


def test_published_tables_say_where_they_are_from() -> None:
    assert {"casa_v2_quality", "casa_v2_streaming_h100", "casa_v2_table1_efficiency"} == set(
        published.names()
    )
    for name in published.names():
        assert len(published.read(name)) > 1
        assert "2512.19535" in published.source(name) or "authors' README" in published.source(name)
    with pytest.raises(UsageError, match="casa_v2_quality"):
        published.read("casa_v2_qualty")
