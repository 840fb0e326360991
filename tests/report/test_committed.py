"""The committed reports are what `harness report` makes of the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.report.build import LISTED, PAGE, data_files
from harness.report.contents import document
from harness.report.document import Figure
from harness.report.evidence import gather
from harness.report.render.texts import texts
from harness.store import uncollected

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "ablation"])
def test_a_committed_report_is_made_of_the_committed_records(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with uncollected():
        evidence = gather(Path("results") / name)
    assert evidence.problems == []
    whole = document(evidence, LISTED)
    folder = Path("reports") / name
    made = data_files(evidence) | texts(whole)
    differing = [name for name, content in made.items() if (folder / name).read_bytes() != content]
    assert differing == [], f"make it again: harness report results/{name} --out reports/{name}"
    figures = {block.name for block in whole.walk() if isinstance(block, Figure)}
    assert {f"{figure}.{form}" for figure in figures for form in ("png", "svg")} | {PAGE} <= {
        path.name for path in folder.iterdir()
    }
